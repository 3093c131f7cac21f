"""What makes logits of a state: the final norm and the head, and how they read a direction while the scale is held.

A norm is N(x) = g ⊙ (x − m(x)) / s(x) + b: LayerNorm takes the mean m of the dims off and divides by their standard
deviation s; RMSNorm takes nothing off and divides by the root of their mean square, and has no b. With s held at the
value that it has for one state, N is linear plus b. What g, m and b are is asked of the norm itself, by three inputs,
because families write them in different ways (Gemma's g is 1 + its weight).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dimscope.core.errors import UserError
from dimscope.models.blocks import bias, blocks, final_norm
from dimscope.models.load import Network


@dataclass(frozen=True, eq=False)
class Readout:
    """The norm after the last block, None where there is none, and the linear map that makes the logits."""

    norm: nn.Module | None
    head: nn.Linear

    @classmethod
    def of(cls, network: Network) -> Readout:
        """Find them.

        Raises:
            UserError: the head is more than one linear map, as in encoders' classifiers.
        """
        if not network.is_decoder:
            raise UserError(
                f"{network.name!r} is an encoder, whose classifier is more than one linear map of a state: wanted a "
                "decoder, such as smollm2 or gpt2"
            )
        stack, _ = blocks(network.model)
        return cls(final_norm(network.model, stack), network.head)

    @torch.inference_mode()
    def logits(self, states: Float[Tensor, "*batch dims"]) -> Float[Tensor, "*batch outputs"]:
        """Give the logits of states as they are between blocks."""
        return self.head(self._normed(states))

    @torch.inference_mode()
    def directions(
        self, states: Float[Tensor, "pairs dims"], answers: Int[Tensor, " pairs"], others: Int[Tensor, " pairs"]
    ) -> tuple[Float[Tensor, "pairs dims"], Float[Tensor, " pairs"]]:
        """Give v and c of every pair, in float64, so that logit(answer) − logit(other) = v · state + c.

        The norm's scale is that of the state, so v says what any part of it adds.

        >>> readout = Readout(nn.LayerNorm(4), nn.Linear(4, 9))
        >>> states, answers, others = torch.eye(2, 4), torch.tensor([3, 1]), torch.tensor([0, 8])
        >>> vectors, constants = readout.directions(states, answers, others)
        >>> logits = readout.logits(states)
        >>> difference = logits[[0, 1], answers] - logits[[0, 1], others]
        >>> torch.allclose((vectors * states).sum(1) + constants, difference.double(), atol=1e-5)
        True
        """
        weights, biases = self.head.weight.double(), bias(self.head).double()
        wanted = weights[answers] - weights[others]
        one, wave = torch.ones_like(wanted[0]), torch.ones_like(wanted[0])
        wave[1::2] = -1  # of mean 0, so that no norm takes anything off
        offset = self._normed(0 * one).double()
        gain = (self._normed(wave).double() - offset) * wave
        is_centered = torch.allclose(self._normed(one).double(), offset)

        def centered(values: Tensor) -> Tensor:
            return values - values.mean(dim=-1, keepdim=True) if is_centered else values

        unscaled = gain * centered(states.to(wanted))
        normed = self._normed(states).double() - offset
        scale = (normed * unscaled).sum(dim=-1, keepdim=True) / unscaled.square().sum(dim=-1, keepdim=True)
        return centered(wanted * gain) * scale, wanted @ offset + biases[answers] - biases[others]

    def _normed(self, states: Float[Tensor, "*batch dims"]) -> Float[Tensor, "*batch dims"]:
        states = states.to(self.head.weight)
        return states if self.norm is None else self.norm(states)
