from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimscope.numerics.bracket import Bracket, log_grid, most_to_try, next_to_try


def searched(suffices, grid, ratio, every=False):
    passes = {}
    while (number := next_to_try(passes, grid, ratio, every)) is not None:
        assert number not in passes
        passes[number] = suffices(number)
    return passes


@given(
    st.integers(1, 50),
    st.integers(60, 20_000),
    st.integers(1, 5),
    st.floats(1.01, 4.0),
    st.integers(1, 30_000),
    st.booleans(),
)
def test_a_planted_number_is_found(smallest, largest, per_decade, ratio, planted, every):
    grid = log_grid(smallest, largest, per_decade)
    passes = searched(lambda number: number >= planted, grid, ratio, every)
    bracket = Bracket.of(passes)
    assert bracket.failing is None or bracket.failing < planted
    assert bracket.passing is None or bracket.passing >= planted
    assert (bracket.failing is None) == (planted <= smallest)
    assert (bracket.passing is None) == (planted > largest)
    if bracket.failing and bracket.passing:
        assert bracket.ratio <= ratio or bracket.passing == bracket.failing + 1
    assert not every or set(grid) <= set(passes)


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("per_decade", [1, 2, 3])
def test_it_tries_no_more_than_was_said(every, per_decade):
    grid = log_grid(1000, 1_000_000, per_decade)  # so wide that rounding moves no halving
    most = max(len(searched(lambda number, k=k: number >= k, grid, 1.3, every)) for k in range(900, 1_100_000, 997))
    assert most == most_to_try(grid, 1.3, every)


def test_both_ends_stand_in_the_grid_and_its_ratios_are_no_wider_than_asked_for():
    grid = log_grid(10, 5000, 3)
    assert (grid[0], grid[-1]) == (10, 5000)
    assert max(upper / lower for lower, upper in pairwise(grid)) <= 10 ** (1 / 3) * 1.05


def test_a_curve_that_falls_again_is_seen_where_all_is_tried_and_its_upper_end_is_the_answer():
    grid = log_grid(10, 10_000, 1)
    passes = searched(lambda number: 50 <= number < 500 or number >= 2000, grid, 1.5, every=True)
    bracket = Bracket.of(passes)
    assert passes[100]
    assert not passes[1000]
    assert bracket.failing < 2000 <= bracket.passing
