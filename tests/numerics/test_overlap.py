"""The oracle: every pair of sets of these sizes, counted one by one."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import hypergeom

from dimscope.core.errors import UserError
from dimscope.numerics.overlap import Group, group, overlap, top, within


def counted(groups):
    """How many members random sets share, over all ways to draw them in all groups."""
    of_groups = []
    for each in groups:
        members = range(each.num_members)
        pairs = product(combinations(members, each.num_first), combinations(members, each.num_second))
        of_groups.append([len(set(a) & set(b)) for a, b in pairs])
    return np.array([sum(shared) for shared in product(*of_groups)])


@pytest.mark.parametrize(
    "groups",
    [
        [Group(6, 2, 3, 1)],
        [Group(5, 4, 3, 3)],
        [Group(4, 2, 2, 0)],
        [Group(4, 1, 2, 1), Group(5, 2, 1, 0)],
        [Group(3, 1, 1, 1), Group(4, 2, 1, 1), Group(2, 0, 1, 0)],
    ],
)
def test_chance_is_what_counting_all_draws_gives(groups):
    shared, found = counted(groups), overlap(groups)
    assert found.num_shared == sum(each.num_shared for each in groups)
    assert found.by_chance == pytest.approx(shared.mean())
    assert found.p_value == pytest.approx((shared >= found.num_shared).mean())
    assert found.chance_interval == tuple(np.quantile(shared, [0.025, 0.975], method="inverted_cdf"))


def test_one_group_is_scipys_hypergeometric():
    found = overlap([Group(270, 27, 27, 9)])
    assert found.by_chance == pytest.approx(2.7)
    assert found.p_value == pytest.approx(hypergeom.sf(8, 270, 27, 27))
    assert found.chance_interval == tuple(hypergeom.interval(0.95, 270, 27, 27))


@pytest.mark.parametrize("percent", [1, 2, 5, 10, 50])
def test_the_jaccard_index_by_chance_is_the_formula_of_the_share(percent):
    share = Fraction(percent, 100)
    num_top = int(share * 1000)
    found = overlap([Group(1000, num_top, num_top, 0)])
    assert found.jaccard_by_chance == pytest.approx(float(share / (2 - share)))


def test_the_published_overlap_is_read_as_four_stages():
    """32 heads in four stages of 384, 25 of them shared."""
    found = overlap([Group(384, 8, 8, 6)] * 3 + [Group(384, 8, 8, 7)])
    assert (found.num_shared, found.num_first, found.by_chance) == (25, 32, pytest.approx(4 * 64 / 384))
    assert found.p_value < 1e-30


def test_the_top_holds_the_largest_of_either_sign():
    scores = np.array([0.0, 5.0, -7.0, 1.0, -2.0, 0.5, 0.0, 0.0, 3.0, -0.1])
    assert top(scores, 0.01).tolist() == [2]
    assert top(scores, 0.2).tolist() == [1, 2]
    assert top(scores, 0.35).tolist() == [1, 2, 4, 8]  # 3.5 is rounded up
    assert top(scores, 1).tolist() == list(range(10))
    assert top(np.zeros(4), 0.5).tolist() == [0, 1]


def test_a_stricter_chance_draws_from_each_layer_what_each_layer_has():
    """Both sets are the whole of layer 1: within layers that is no surprise at all."""
    first = second = np.array([3, 4, 5])
    layers = np.repeat([0, 1, 2], 3)
    assert overlap([group(first, second, 9)]).p_value == pytest.approx(1 / 84)
    strict = overlap(within(first, second, layers))
    assert (strict.num_shared, strict.by_chance, strict.p_value) == (3, 3, pytest.approx(1))


def test_random_rankings_share_no_more_than_chance():
    rng = np.random.default_rng(0)
    found = [overlap([group(*(top(rng.normal(size=90), 0.1) for _ in range(2)), num_members=90)]) for _ in range(400)]
    assert np.mean([each.num_shared for each in found]) == pytest.approx(found[0].by_chance, abs=0.15)
    assert np.mean([each.p_value <= 0.05 for each in found]) < 0.08


def test_nothing_is_refused():
    with pytest.raises(UserError, match="at least one group"):
        overlap([])
    with pytest.raises(UserError, match="a fraction above 0"):
        top(np.ones(3), 0)
    with pytest.raises(UserError, match="0 scores"):
        top(np.empty(0), 0.1)
    assert np.isnan(overlap([Group(3, 0, 0, 0)]).jaccard)
