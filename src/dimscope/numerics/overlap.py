"""How much the tops of two rankings have in common, and how much they would by chance.

Two random sets of a and b among n members share a hypergeometric number of them; if both are a share K of all, a·b/n of
them are shared on average, and K/(2 − K) is the Jaccard index of that. Sets that are drawn group by group (several
stages of a circuit, or the heads of every layer apart) share the sum of independent such numbers, whose distribution is
their convolution: exact, with no permutations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import hypergeom

from dimscope.core.errors import UserError

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Group:
    """Two sets among the same `num_members`, and how many are in both."""

    num_members: int
    num_first: int
    num_second: int
    num_shared: int


@dataclass(frozen=True)
class Overlap:
    """How many members two sets share, and how many random ones of the same sizes do.

    `by_chance` is the expectation, `chance_interval` holds the middle 95 %, `p_value` is the probability that random
    sets share at least as many.
    """

    num_shared: int
    num_first: int
    num_second: int
    by_chance: float
    chance_interval: tuple[int, int]
    p_value: float

    @property
    def jaccard(self) -> float:
        """The share of the union that both have; nan if both are empty."""
        return _jaccard(self.num_shared, self.num_first + self.num_second)

    @property
    def jaccard_by_chance(self) -> float:
        """The same of the number shared by chance: K/(2 − K) for two sets of a share K of all."""
        return _jaccard(self.by_chance, self.num_first + self.num_second)


def top(scores: Float[np.ndarray, " members"], fraction: float) -> Int[np.ndarray, " top"]:
    """Give the members with the largest scores, either sign, in ascending order: a fraction of all, one at least.

    Of equal scores the first members are taken.

    >>> top(np.array([0.1, -3.0, 0.0, 2.0]), 0.5)
    array([1, 3])

    Raises:
        UserError: there are no scores, or the fraction is not in (0, 1].
    """
    if not len(scores) or not 0 < fraction <= 1:
        raise UserError(f"wanted scores and a fraction above 0 and up to 1, came {len(scores)} scores and {fraction}")
    num_top = max(1, math.floor(fraction * len(scores) + 0.5))
    return np.sort(np.argsort(-np.abs(scores), kind="stable")[:num_top])


def group(first: Int[np.ndarray, " first"], second: Int[np.ndarray, " second"], num_members: int) -> Group:
    """Count two sets.

    >>> group(np.array([0, 1]), np.array([1, 2]), num_members=5)
    Group(num_members=5, num_first=2, num_second=2, num_shared=1)
    """
    return Group(num_members, len(first), len(second), len(np.intersect1d(first, second)))


def overlap(groups: Sequence[Group]) -> Overlap:
    """Hold what two sets share, over all groups together, against sets drawn at random within each group.

    >>> found = overlap([Group(4, 2, 2, 2)])
    >>> found.by_chance, found.chance_interval, round(found.p_value, 4)
    (1.0, (0, 2), 0.1667)

    Raises:
        UserError: there is no group.
    """
    if not groups:
        raise UserError("an overlap needs at least one group of members, and none came")
    chance = reduce(np.convolve, map(_chance, groups))
    num_shared = sum(each.num_shared for each in groups)
    tail = (1 - _CONFIDENCE) / 2
    low, high = (int(np.searchsorted(chance.cumsum(), share)) for share in (tail, 1 - tail))
    return Overlap(
        num_shared=num_shared,
        num_first=sum(each.num_first for each in groups),
        num_second=sum(each.num_second for each in groups),
        by_chance=sum(each.num_first * each.num_second / each.num_members for each in groups),
        chance_interval=(low, high),
        p_value=min(1.0, float(chance[num_shared:].sum())),
    )


def within(
    first: Int[np.ndarray, " first"], second: Int[np.ndarray, " second"], groups: Int[np.ndarray, " members"]
) -> list[Group]:
    """Count two sets in each group of their members: as many of each are drawn from each, which is a stricter chance.

    >>> within(np.array([0, 3]), np.array([1, 3]), groups=np.array([0, 0, 1, 1]))[1]
    Group(num_members=2, num_first=1, num_second=1, num_shared=1)
    """
    members = [np.flatnonzero(groups == each) for each in np.unique(groups)]
    return [group(np.intersect1d(first, each), np.intersect1d(second, each), len(each)) for each in members]


def _chance(of: Group) -> Float[np.ndarray, " shared"]:
    """Give the probabilities that two random sets share 0, 1, 2, … members."""
    return hypergeom.pmf(np.arange(min(of.num_first, of.num_second) + 1), of.num_members, of.num_first, of.num_second)


def _jaccard(num_shared: float, num_both: int) -> float:
    return num_shared / (num_both - num_shared) if num_both else float("nan")
