"""Activation patching of all heads guessed from one gradient, and how far the guess is off.

The metric's change under a patch is, to first order, the gradient at the head's output times what the patch would
change there: one pass and one way back for all heads together (Nanda 2023, "Attribution patching"; Syed, Rager & Conmy
2023, 2310.10348, equation 1). It is a filter, not a finding: the heads that it names are patched exactly, and the error
stands beside (Kramár et al. 2024, 2403.00745, tell where it fails: saturated attention, and effects that cancel).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field

from dimscope.activations.continuation import Continuation, both
from dimscope.activations.gradients import gradients
from dimscope.activations.patching import Patch, Reading, patched
from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Array, Number, Result
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.load import Network
from dimscope.numerics.resampling import mean_interval
from dimscope.scoring.known import Taken, taken
from dimscope.scoring.metrics import bound, find_metric
from dimscope.scoring.patching import shares


class AttributionPatching(Method):
    """The share of the answer that each head carries, by the gradient, and exactly for those that carry most."""

    sources = (
        "Nanda 2023, attribution patching",
        "Syed, Rager & Conmy 2023 (2310.10348), equation 1",
    )

    direction: Literal["denoising", "noising"] = "denoising"
    """Whether the prompt's values are put into the counterfactual, or the other way around."""
    metric: Literal["logit_difference", "probability", "log_probability"] = "logit_difference"
    """What is read of the answer."""
    exact: Literal["shown", "all"] = "shown"
    """Which heads are patched exactly too: those that are told as numbers, or all, as the whole search would."""
    taken: Taken = "known"
    """Which pairs are looked at: those whose prompt the model has right, or all."""
    num_shown: int = Field(10, ge=1)
    """Heads that are told as numbers; the arrays hold all."""

    def run(self, bench: Bench) -> Result:
        """Guess all heads, and patch some or all of them.

        Raises:
            UserError: the model has none of the prompts right.
        """
        network: Network = bench.network
        pairs, numbers = taken(network, bench.pairs, self.taken)
        asked = pairs.swapped() if self.direction == "denoising" else pairs
        base, other = both(network, asked, ["attn.heads"])
        reading = Reading(*bound(self.metric, pairs.answers, pairs.others))
        ends = [reading.of_unchanged(each).cpu().numpy() for each in (base, other)]
        guessed = shares(ends[0] + self._guessed(network, asked, pairs, base, other), *ends)
        furthest = np.argsort(-np.abs(guessed.mean(axis=1)), kind="stable")
        tried = np.arange(len(guessed)) if self.exact == "all" else furthest[: self.num_shown]
        with work("patches", len(tried)) as done:
            patches = [Patch(f"layers.{layer}.attn.heads", head) for layer, head in self._places(tried, network)]
            exactly = shares(patched(base, other, patches, reading, done).cpu().numpy(), *ends)
        exact = dict(zip(tried.tolist(), exactly, strict=True))
        for rank, ((layer, head), place) in enumerate(
            zip(self._places(furthest[: self.num_shown], network), furthest.tolist(), strict=False), start=1
        ):
            where = {"layer": layer, "head": head, "rank": rank}
            numbers += [_told("attributed_share", guessed[place], where), _told("patched_share", exact[place], where)]
        return Result(
            numbers=[*numbers, *_errors(guessed[tried].mean(axis=1), exactly.mean(axis=1))],
            arrays=self._arrays(guessed, exactly, network),
            notes=pairs.notes,
        )

    def _guessed(
        self, network: Network, asked: PromptPairs, pairs: PromptPairs, base: Continuation, other: Continuation
    ) -> Float[np.ndarray, "heads pairs"]:
        """Give the first-order change of each pair's metric by each head."""
        metric, sites = find_metric(self.metric), [f"layers.{each}.attn.heads" for each in range(network.num_layers)]
        batch = {"input_ids": torch.from_numpy(asked.ids), "attention_mask": torch.from_numpy(asked.mask)}
        slopes = gradients(network, batch, sites, lambda logits: metric(logits, pairs.answers, pairs.others))
        rows = []
        for site in sites:
            slope = slopes[site][:, base.start :]
            change = (slope * (other.kept[site] - base.kept[site])).unflatten(2, (network.num_heads, -1))
            rows.append(change.sum((1, 3)).T.cpu().numpy())
        return np.concatenate(rows)

    def _places(self, heads: np.ndarray, network: Network) -> list[tuple[int, int]]:
        return [divmod(int(head), network.num_heads) for head in heads]

    def _arrays(self, guessed: np.ndarray, exactly: np.ndarray, network: Network) -> dict[str, Array]:
        shape = (network.num_layers, network.num_heads)
        arrays = {"attributed": Array(guessed.mean(axis=1).reshape(shape), ("layer", "head"))}
        if self.exact == "all":
            arrays["patched"] = Array(exactly.mean(axis=1).reshape(shape), ("layer", "head"))
        return arrays


def _errors(guessed: Float[np.ndarray, " heads"], exact: Float[np.ndarray, " heads"]) -> list[Number]:
    """Tell how far the guesses of those heads are off that were patched exactly."""
    error = np.abs(guessed - exact)
    return [
        Number(name="largest_error", value=float(error.max()), better="lower", where={"heads": len(error)}),
        Number(name="median_error", value=float(np.median(error)), better="lower", where={"heads": len(error)}),
    ]


def _told(name: str, values: Float[np.ndarray, " pairs"], where: dict[str, int]) -> Number:
    return Number(name=name, value=float(values.mean()), interval=mean_interval(values), where=where)
