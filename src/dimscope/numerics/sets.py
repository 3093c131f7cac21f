"""How much sets of dimensions have in common, and how much random sets of their sizes would.

Two random sets of sizes a and b among d dimensions share a hypergeometric number k of members; their Jaccard
index (Jaccard 1912, New Phytol. 11(2):37) is then k / (a + b − k), whose expectation is an exact sum. For
more sets than two, the mean over all pairs is held against permutations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import hypergeom

from dimscope.core.errors import UserError
from dimscope.numerics.resampling import permutation_p_value

Dims = Sequence[int] | Int[np.ndarray, " _"]


def jaccard(a: Dims, b: Dims) -> float:
    """Give the share of the union that both sets have; nan if both are empty.

    >>> jaccard([1, 2, 3], [2, 3, 4])
    0.5
    """
    union = np.union1d(a, b)
    return len(np.intersect1d(a, b)) / len(union) if len(union) else float("nan")


def persistence_rates(sets: Sequence[Dims], num_dims: int) -> Float[np.ndarray, " dims"]:
    """Give the share of the sets that each dimension is in.

    Raises:
        UserError: there is no set, or one has a member that is not a dimension.

    >>> persistence_rates([[0, 1], [1]], num_dims=3)
    array([0.5, 1. , 0. ])
    """
    if len(sets) == 0:
        raise UserError("persistence needs at least one set of dimensions, and none came")
    return _membership(sets, num_dims).mean(axis=0)


def expected_overlap(size_a: int, size_b: int, num_dims: int) -> float:
    """Give how many members two random sets share on average.

    >>> expected_overlap(4, 6, num_dims=12)
    2.0
    """
    return size_a * size_b / num_dims


def overlap_p_value(num_shared: int, size_a: int, size_b: int, num_dims: int) -> float:
    """Give the probability that two random sets share at least that many members.

    >>> round(overlap_p_value(2, 2, 2, num_dims=4), 4)
    0.1667
    """
    return float(hypergeom.sf(num_shared - 1, num_dims, size_a, size_b))


def expected_jaccard(size_a: int, size_b: int, num_dims: int) -> float:
    """Give the Jaccard index of two random sets on average; nan if both are empty.

    >>> round(expected_jaccard(1, 1, num_dims=4), 4)
    0.25
    """
    if size_a == size_b == 0:
        return float("nan")
    shared = np.arange(max(0, size_a + size_b - num_dims), min(size_a, size_b) + 1)
    probability = hypergeom.pmf(shared, num_dims, size_a, size_b)
    return float((probability * shared / (size_a + size_b - shared)).sum())


def mean_pairwise_jaccard(sets: Sequence[Dims]) -> float:
    """Give the mean Jaccard index over all pairs that are not both empty; nan if there is none.

    >>> mean_pairwise_jaccard([[1, 2], [1, 2], [2]])
    0.666...
    """
    num_dims = 1 + max((int(member) for each in sets for member in each), default=0)
    return _mean_jaccard(_membership(sets, num_dims))


def jaccard_permutation(
    sets: Sequence[Dims], num_dims: int, rng: np.random.Generator, num_permutations: int = 9999
) -> tuple[float, float, float]:
    """Hold the mean pairwise Jaccard index against random sets of the same sizes.

    Gives the index, its mean over the permutations, and the share of them that reach it; all nan if no pair
    has members.

    Raises:
        UserError: a set has a member that is not a dimension.

    >>> value, by_chance, p_value = jaccard_permutation([[1, 2], [1, 2]], 50, np.random.default_rng(0), 99)
    >>> value, by_chance < 0.1, p_value
    (1.0, True, 0.01)
    """
    membership = _membership(sets, num_dims)
    value = _mean_jaccard(membership)
    if np.isnan(value):
        return value, value, value
    by_chance = np.array([_mean_jaccard(rng.permuted(membership, axis=1)) for _ in range(num_permutations)])
    return value, float(by_chance.mean()), permutation_p_value(value, by_chance)


def _membership(sets: Sequence[Dims], num_dims: int) -> Bool[np.ndarray, "sets dims"]:
    membership = np.zeros((len(sets), num_dims), dtype=bool)
    for row, dims in zip(membership, sets, strict=True):
        members = np.asarray(dims, dtype=int)
        if members.size and not 0 <= members.min() <= members.max() < num_dims:
            raise UserError(f"there are dimensions 0 … {num_dims - 1}; a set has {members.min()} … {members.max()}")
        row[members] = True
    return membership


def _mean_jaccard(membership: Bool[np.ndarray, "sets dims"]) -> float:
    counts = membership.astype(np.float64)
    first, second = np.triu_indices(len(counts), k=1)
    shared = (counts @ counts.T)[first, second]
    sizes = counts.sum(axis=1)
    union = sizes[first] + sizes[second] - shared
    return float((shared[union > 0] / union[union > 0]).mean()) if union.any() else float("nan")
