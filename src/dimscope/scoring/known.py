"""Which prompts a model has right: among all outputs, and among the options that the prompt leaves.

What happens inside a model that does not know the answer tells nothing of how it knows it, so prompts are filtered, and
the share that was kept is told with its interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from dimscope.core.errors import UserError
from dimscope.core.progress import work
from dimscope.core.result import Number
from dimscope.data.batching import prompt_batches
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.classify import classify
from dimscope.models.load import Network
from dimscope.scoring.classification import accuracy
from dimscope.scoring.metrics import logit_difference

Among = Literal["outputs", "options"]
Taken = Literal["known", "all"]
"""Which pairs are looked at: those whose prompt the model has right, or all."""


@dataclass(frozen=True, eq=False)
class Answered:
    """For every prompt: is a right option above all other outputs, or above all other options; and by how much.

    `logit_difference` is the answer's logit minus the other's.
    """

    among_outputs: Bool[np.ndarray, " pairs"]
    among_options: Bool[np.ndarray, " pairs"]
    logit_difference: Float32[np.ndarray, " pairs"]

    @classmethod
    def empty(cls, num_pairs: int) -> Answered:
        """Give room for the answers of so many pairs."""
        return cls(*(np.empty(num_pairs, dtype) for dtype in (bool, bool, np.float32)))

    def fill(
        self, indices: Int[np.ndarray, " batch"], logits: Float[Tensor, "batch outputs"], pairs: PromptPairs
    ) -> None:
        """Look at what is on top of the logits of the pairs at these places."""
        asked = logits, pairs.options, pairs.is_right
        self.among_outputs[indices] = right_among_outputs(*asked).cpu()
        self.among_options[indices] = right_among_options(*asked).cpu()
        self.logit_difference[indices] = logit_difference(logits, pairs.answers, pairs.others).cpu()

    def is_right(self, among: Among) -> Bool[np.ndarray, " pairs"]:
        """Tell which prompts are right among all 'outputs' or among the 'options'."""
        return self.among_outputs if among == "outputs" else self.among_options


def known(network: Network, pairs: PromptPairs, among: Among = "outputs") -> tuple[PromptPairs, Number]:
    """Give the pairs whose prompt the model has right, and their share, `known_fraction`, with its Wilson interval.

    Raises:
        UserError: it has none right.
    """
    is_right = answer(network, pairs).is_right(among)
    if not is_right.any():
        raise UserError(
            f"{network.name!r} has none of {len(pairs)} prompts of {pairs.name!r} right among the {among}: "
            "take other prompts or another model"
        )
    return pairs.at(np.flatnonzero(is_right)), accuracy(is_right, "known_fraction", among=among)


def taken(network: Network, pairs: PromptPairs, which: Taken) -> tuple[PromptPairs, list[Number]]:
    """Give the pairs that are looked at, and what is to be told of those that are not.

    Raises:
        UserError: the known ones are wanted, and there are none.
    """
    if which == "all":
        return pairs, []
    kept, share_known = known(network, pairs)
    return kept, [share_known]


@torch.inference_mode()
def answer(network: Network, pairs: PromptPairs) -> Answered:
    """Run the prompts of all pairs (not their counterfactuals: take `pairs.swapped()`) and look at what is on top."""
    answered = Answered.empty(len(pairs))
    with work("prompts", len(pairs)) as done:
        for indices, chosen, batch in prompt_batches(pairs):
            answered.fill(indices, classify(network, batch).float(), chosen)
            done(len(indices))
    return answered


def right_among_options(
    logits: Float[Tensor, "pairs outputs"],
    options: Int[np.ndarray, "pairs options"],
    is_right: Bool[np.ndarray, "pairs options"],
) -> Bool[Tensor, " pairs"]:
    """Tell whether a right option is above all wrong ones; a tie is none.

    >>> right_among_options(torch.tensor([[9.0, 1.0, 2.0]]), np.array([[1, 2]]), np.array([[False, True]])).item()
    True
    """
    of_options = _at_options(logits, options)
    right = torch.as_tensor(is_right, device=logits.device)
    return _highest(of_options, right) > _highest(of_options, ~right)


def right_among_outputs(
    logits: Float[Tensor, "pairs outputs"],
    options: Int[np.ndarray, "pairs options"],
    is_right: Bool[np.ndarray, "pairs options"],
) -> Bool[Tensor, " pairs"]:
    """Tell whether a right option is above all outputs that are no right options; a tie is none.

    >>> right_among_outputs(torch.tensor([[9.0, 1.0, 2.0]]), np.array([[1, 2]]), np.array([[False, True]])).item()
    False
    """
    right = torch.as_tensor(is_right, device=logits.device)
    others = logits.clone()
    pair, option = np.nonzero(is_right)
    others[pair, options[pair, option]] = -torch.inf
    return _highest(_at_options(logits, options), right) > others.amax(dim=1)


def _at_options(
    logits: Float[Tensor, "pairs outputs"], options: Int[np.ndarray, "pairs options"]
) -> Float[Tensor, "pairs options"]:
    return logits.gather(1, torch.as_tensor(options, device=logits.device))


def _highest(values: Float[Tensor, "pairs options"], chosen: Bool[Tensor, "pairs options"]) -> Float[Tensor, " pairs"]:
    """Give the highest chosen value, -∞ where none is chosen."""
    return values.masked_fill(~chosen, -torch.inf).amax(dim=1)
