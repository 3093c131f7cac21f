from __future__ import annotations

import itertools

import numpy as np
import pytest

from dimscope.core.errors import UserError
from dimscope.numerics.sets import (
    expected_jaccard,
    expected_overlap,
    jaccard,
    jaccard_permutation,
    mean_pairwise_jaccard,
    overlap_p_value,
    persistence_rates,
)

SIZES = [(2, 3, 5), (1, 1, 4), (4, 4, 6), (0, 3, 5), (5, 5, 5)]


def _all_overlaps(size_a: int, size_b: int, num_dims: int) -> list[int]:
    """How many of the members 0 … size_a − 1 every set of the second size has."""
    return [sum(dim < size_a for dim in each) for each in itertools.combinations(range(num_dims), size_b)]


@pytest.mark.parametrize("sizes", SIZES)
def test_chance_is_that_of_all_sets(sizes):
    size_a, size_b, _ = sizes
    overlaps = np.array(_all_overlaps(*sizes))
    assert expected_overlap(*sizes) == pytest.approx(overlaps.mean())
    assert expected_jaccard(*sizes) == pytest.approx((overlaps / (size_a + size_b - overlaps)).mean())
    for num_shared in range(min(size_a, size_b) + 1):
        expected = (overlaps >= num_shared).mean()
        assert overlap_p_value(num_shared, *sizes) == pytest.approx(expected)


def test_random_sets_share_what_the_hypergeometric_expects():
    rng = np.random.default_rng(0)
    pairs = [(rng.choice(60, 8, replace=False), rng.choice(60, 12, replace=False)) for _ in range(2000)]
    shared = [len(np.intersect1d(a, b)) for a, b in pairs]
    assert np.mean(shared) == pytest.approx(expected_overlap(8, 12, 60), abs=0.08)
    assert np.mean([jaccard(a, b) for a, b in pairs]) == pytest.approx(expected_jaccard(8, 12, 60), abs=0.005)


def test_jaccard_of_known_sets():
    assert jaccard(np.array([3, 1]), np.array([1, 3])) == 1
    assert jaccard([1, 2], [3]) == 0
    assert jaccard([], [3]) == 0
    assert np.isnan(jaccard([], []))
    assert np.isnan(expected_jaccard(0, 0, 5))


def test_rates_count_the_sets_of_each_dimension():
    assert persistence_rates([[0, 2], [2], [], [2, 3]], 5).tolist() == [0.25, 0, 0.75, 0.25, 0]


def test_mean_over_pairs_is_that_of_jaccard():
    rng = np.random.default_rng(1)
    sets = [rng.choice(20, size, replace=False) for size in (3, 7, 1, 5)] + [np.array([], dtype=int)]
    pairs = [jaccard(a, b) for a, b in itertools.combinations(sets, 2)]
    assert mean_pairwise_jaccard(sets) == pytest.approx(np.mean(pairs))
    assert mean_pairwise_jaccard([[], [], [1], [1]]) == pytest.approx(1 / 5)
    assert np.isnan(mean_pairwise_jaccard([[], []]))
    assert np.isnan(mean_pairwise_jaccard([[1, 2]]))


def test_permuted_sets_are_as_far_apart_as_expected():
    sets, sizes = [range(10), range(5, 25), range(30, 33)], [10, 20, 3]
    value, by_chance, _ = jaccard_permutation(sets, 40, np.random.default_rng(2), 2000)
    expected = np.mean([expected_jaccard(a, b, 40) for a, b in itertools.combinations(sizes, 2)])
    assert value == pytest.approx(mean_pairwise_jaccard(sets))
    assert by_chance == pytest.approx(expected, abs=0.004)


def test_two_permuted_sets_of_one_size_give_the_hypergeometric_p_value():
    value, _, p_value = jaccard_permutation([range(6), range(3, 9)], 30, np.random.default_rng(3), 4000)
    assert value == 3 / 9
    assert p_value == pytest.approx(overlap_p_value(3, 6, 6, 30), abs=0.015)


def test_persistent_sets_stand_out_and_follow_the_generator():
    sets = [[1, 5, 9], [1, 5, 9], [1, 5, 8]]
    found = jaccard_permutation(sets, 100, np.random.default_rng(4), 499)
    assert found[2] == 1 / 500
    assert found == jaccard_permutation(sets, 100, np.random.default_rng(4), 499)
    assert np.isnan(jaccard_permutation([[], []], 5, np.random.default_rng(5), 9)).all()


def test_members_must_be_dimensions():
    with pytest.raises(UserError, match=r"dimensions 0 … 4; a set has 2 … 5"):
        persistence_rates([[2, 5]], 5)
    with pytest.raises(UserError, match="at least one set"):
        persistence_rates([], 5)
