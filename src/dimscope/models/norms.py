"""What a norm does while its scale is held: it is linear then, and tells apart what the parts of a state become.

A norm is N(x) = g ⊙ (x − m(x)) / s(x) + b: LayerNorm takes the mean m of the dims off and divides by their standard
deviation s; RMSNorm takes nothing off and divides by the root of their mean square, and has no b. With s held at the
value that it has for one state, N is linear plus b. What g, m and b are is asked of the norm itself, by three inputs,
because families write them in different ways (Gemma's g is 1 + its weight).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


class HeldNorm:
    """A norm's g and b, and whether it takes the mean off; all in float64.

    >>> held = HeldNorm(torch.nn.LayerNorm(4), torch.ones(4))
    >>> held.is_centered, held.offset.tolist()
    (True, [0.0, 0.0, 0.0, 0.0])
    """

    def __init__(self, norm: Callable[[Tensor], Tensor], like: Float[Tensor, " dims"]) -> None:
        """Ask the norm, by vectors of the type and on the device of `like`."""
        one, wave = torch.ones_like(like), torch.ones_like(like)
        wave[1::2] = -1  # of mean 0, so that no norm takes anything off
        self.offset = norm(0 * one).double()
        self.gain = (norm(wave).double() - self.offset) * wave
        self.is_centered = torch.allclose(norm(one).double(), self.offset)

    def centered(self, values: Float[Tensor, "*batch dims"]) -> Float[Tensor, "*batch dims"]:
        """Take the mean of the dims off, if the norm does."""
        return values - values.mean(dim=-1, keepdim=True) if self.is_centered else values

    def scale(
        self, states: Float[Tensor, "*batch dims"], normed: Float[Tensor, "*batch dims"]
    ) -> Float[Tensor, "*batch one"]:
        """Give 1 / s of states, out of what the norm makes of them."""
        unscaled = self.gain * self.centered(states.double())
        return ((normed.double() - self.offset) * unscaled).sum(-1, keepdim=True) / unscaled.square().sum(-1, True)
