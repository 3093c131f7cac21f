"""Whether the dimensions that stand out before fine-tuning still stand out after it, against chance.

Rudman, Chen & Eickhoff 2023 (2310.17715), section 3, count how often a pretrained outlier is an outlier after fine-
tuning. Alone, this compares a checkpoint with its own base; a recipe calls `compare` on the sets of many tasks and
seeds. Chance is that sets of the same sizes are drawn at random: hypergeometric for two sets, permutation for more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int
from pydantic import Field

from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.result import Array, Number, Result
from dimscope.numerics.moments import Moments
from dimscope.numerics.outliers import outlier_dims, principal_dim
from dimscope.numerics.resampling import spearman_permutation
from dimscope.numerics.sets import (
    expected_jaccard,
    expected_overlap,
    jaccard,
    jaccard_permutation,
    overlap_p_value,
    persistence_rates,
)

Dims = Int[np.ndarray, " members"]


class Persistence(Method):
    """Overlap of the outlier sets before and after fine-tuning."""

    sources = ("Rudman, Chen & Eickhoff 2023 (2310.17715), section 3",)

    factor: float = Field(5.0, gt=1)
    """A dimension is an outlier if its variance is at least this many times the mean variance."""
    split: Literal["train", "validation"] = "train"
    """Sentences to measure on."""
    site: str = "final"
    """Where in the network."""

    def run(self, bench: Bench) -> Result:
        """Compare the bench's checkpoint with its own base.

        Raises:
            UserError: the bench has no checkpoint.
        """
        if bench.checkpoint is None:
            raise UserError(
                "persistence compares a checkpoint with its base, and this bench has none: give --checkpoint"
            )
        before, after = (Moments.of(each.states(self.split, self.site)).variance for each in (bench.pretrained, bench))
        num_dims = len(before)
        first, second = (outlier_dims(variance, self.factor) for variance in (before, after))
        member = np.stack([np.isin(np.arange(num_dims), dims) for dims in (first, second)])
        return Result(
            numbers=[*overlap(first, second, num_dims), *_of_variances(before, after, bench.seed)],
            arrays={"is_outlier": Array(member, ("weights", "dim"), ticks={"weights": ("pretrained", "fine-tuned")})},
        )


def _of_variances(before: np.ndarray, after: np.ndarray, seed: int) -> list[Number]:
    """What can be said where there are no outliers: whether dimensions keep their rank and ρ its place."""
    correlation, p_value = spearman_permutation(before, after, seeds.stream(seed, "persistence/variance"))
    return [
        Number(name="variance_rank_correlation", value=correlation),
        Number(name="variance_rank_p_value", value=p_value),
        Number(name="principal_dim_before", value=principal_dim(before), unit="index"),
        Number(name="principal_dim_after", value=principal_dim(after), unit="index"),
    ]


def overlap(before: Dims, after: Dims, num_dims: int) -> list[Number]:
    """Compare two sets with what two random sets of their sizes would share."""
    shared = len(np.intersect1d(before, after))
    kept = shared / len(before) if len(before) else float("nan")
    return [
        Number(name="num_outliers_before", value=len(before), unit="dims"),
        Number(name="num_outliers_after", value=len(after), unit="dims"),
        Number(name="num_shared", value=shared, unit="dims"),
        Number(
            name="num_shared_by_chance",
            value=expected_overlap(len(before), len(after), num_dims),
            unit="dims",
        ),
        Number(name="persistence_rate", value=kept),
        Number(name="jaccard_score", value=jaccard(before, after)),
        Number(name="jaccard_by_chance", value=expected_jaccard(len(before), len(after), num_dims)),
        Number(name="overlap_p_value", value=overlap_p_value(shared, len(before), len(after), num_dims)),
    ]


def compare(sets: Sequence[Dims], num_dims: int, seed: int) -> tuple[list[Number], Array]:
    """Compare many sets: their mean pairwise Jaccard against permuted ones, and every dimension's rate [dims]."""
    value, by_chance, p_value = jaccard_permutation(sets, num_dims, seeds.stream(seed, "persistence"))
    rates = persistence_rates(sets, num_dims)
    numbers = [
        Number(name="num_sets", value=len(sets)),
        Number(name="mean_jaccard_score", value=value),
        Number(name="mean_jaccard_by_chance", value=by_chance),
        Number(name="mean_jaccard_p_value", value=p_value),
        Number(name="num_always_outliers", value=int((rates == 1).sum()), unit="dims"),
        Number(name="num_ever_outliers", value=int((rates > 0).sum()), unit="dims"),
    ]
    return numbers, Array(rates, ("dim",))
