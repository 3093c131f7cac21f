"""What makes logits of a state: the final norm and the head, and how they read a direction while the scale is held."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dimscope.core.errors import UserError
from dimscope.models.blocks import bias, blocks, final_norm
from dimscope.models.load import Network
from dimscope.models.norms import HeldNorm


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
        held = HeldNorm(self._normed, wanted[0])
        scale = held.scale(states, self._normed(states))
        return held.centered(wanted * held.gain) * scale, wanted @ held.offset + biases[answers] - biases[others]

    @torch.inference_mode()
    def added(
        self, parts: Float[Tensor, "pairs parts dims"], states: Float[Tensor, "pairs dims"]
    ) -> Float[Tensor, "pairs parts outputs"]:
        """Give what parts of states add to all logits, while the norm's scale is that of the states.

        >>> readout, states = Readout(nn.LayerNorm(4), nn.Linear(4, 9)), torch.randn(2, 4)
        >>> nothing = readout.logits(torch.zeros(2, 4))
        >>> whole = readout.added(states.unsqueeze(1), states)[:, 0] + nothing
        >>> torch.allclose(whole, readout.logits(states), atol=1e-5)
        True
        """
        held = HeldNorm(self._normed, self.head.weight[0])
        scale = held.scale(states, self._normed(states)).unsqueeze(1)
        moved = held.centered(parts.double()) * held.gain * scale
        return moved.to(self.head.weight) @ self.head.weight.T

    def _normed(self, states: Float[Tensor, "*batch dims"]) -> Float[Tensor, "*batch dims"]:
        states = states.to(self.head.weight)
        return states if self.norm is None else self.norm(states)
