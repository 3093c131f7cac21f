"""Circuits whose shared heads are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import hypergeom

from dimscope.core.result import Array, Number, Result
from dimscope.scoring.circuits import Head, Roles, Stage, correlation, overlap_of_two, overlaps, stages_of


def stage(heads, reach=10, shape=(10, 10)):
    """Small noise everywhere, and large shares of the named heads."""
    shares = np.random.default_rng(len(heads)).uniform(-1e-3, 1e-3, size=shape)
    shares[reach:] = 0
    for nth, head in enumerate(heads):
        shares[head] = (-1) ** nth * (1 - 0.01 * nth)
    return Stage(shares, reach)


def test_the_strongest_are_the_planted_ones_in_their_order():
    found = stage([(3, 1), (9, 9), (0, 0)]).strongest(3)
    assert list(found) == [Head(3, 1), Head(9, 9), Head(0, 0)]
    assert list(found.values()) == [1, -0.99, 0.98]
    assert [head.name for head in found] == ["3.1", "9.9", "0.0"]
    assert Stage(np.zeros((2, 2)), 2).strongest(3) == {}


def test_what_two_circuits_share_is_what_was_planted():
    first = [stage([(9, 0), (9, 1), (8, 2), (7, 3)]), stage([(2, 0), (3, 1)], reach=5)]
    second = [stage([(8, 2), (9, 1), (1, 1), (0, 0)]), stage([(2, 0), (5, 0)], reach=8)]
    found = Result(numbers=overlap_of_two(first, second, [2, 4]))
    assert found.value("num_shared_heads", stage="1", percent=4) == 2
    assert found.value("shared_fraction", stage="1", percent=4) == 0.5
    assert found.value("shared_p_value", stage="1", percent=4) == pytest.approx(hypergeom.sf(1, 100, 4, 4))
    chance = found.number("shared_by_chance", stage="1", percent=4)
    assert (chance.value, chance.interval) == (pytest.approx(0.16), (0, 1))
    # Of the second stage paths lead from the first five layers in both: 50 heads, of which 4 % are two.
    assert found.value("num_top_heads", stage="2", percent=4) == 2
    assert found.value("num_shared_heads", stage="2", percent=4) >= 1
    for name in ("num_top_heads", "num_shared_heads", "shared_by_chance", "shared_by_chance_within_layers"):
        parts = sum(found.value(name, stage=each, percent=2) for each in ("1", "2"))
        assert found.value(name, stage="all", percent=2) == pytest.approx(parts)


def test_heads_of_one_layer_are_shared_by_chance_within_layers():
    """Both circuits are the whole last layer: a finding among all heads, and none among those of a layer."""
    last = [(9, head) for head in range(10)]
    found = Result(numbers=overlap_of_two([stage(last)], [stage(last[::-1])], [10]))
    assert found.value("shared_p_value", stage="all") < 1e-10
    assert found.value("shared_p_value_within_layers", stage="all") == pytest.approx(1)
    assert found.value("shared_by_chance_within_layers", stage="all") == pytest.approx(10)


def test_stages_of_one_circuit_alone_are_left_out():
    one = [stage([(5, 5)])]
    assert {each.where["stage"] for each in overlap_of_two(one, [*one, *one], [2])} == {"1", "all"}
    assert {each.where["stage"] for each in overlap_of_two([*one, stage([], reach=0)], [*one, *one], [2])} == {
        "1",
        "all",
    }
    assert overlap_of_two([], one, [2]) == []


def test_roles_are_read_off_signs():
    """Planted: signs alternate from the strongest on."""
    first, second = stage([(9, 0), (9, 1), (8, 2), (7, 3)]), stage([(5, 0), (5, 1), (4, 2)], reach=9)
    roles = Roles.of([first, second], num_kept=4, num_inhibiting=1)
    assert [each.name for each in roles.movers] == ["9.0", "8.2"]
    assert [each.name for each in roles.negative] == ["9.1"]
    assert [each.name for each in roles.inhibiting] == ["5.0"]
    assert [each.name for each in roles.all_forced] == ["5.0", "9.1"]
    assert [each.name for each in Roles.of([first, first], 4, 2).all_forced] == ["9.0", "8.2", "9.1"]
    of_both_kinds = [Stage(np.array([[-1.0, 0.0]]), 1), Stage(np.array([[1.0, 0.0]]), 1)]
    assert [each.name for each in Roles.of(of_both_kinds, 2, 3).all_forced] == ["0.0"]
    assert Roles.of([], 4, 3).all_forced == []
    assert Roles.of([first], 1, 3).all_forced == []


def test_stages_come_back_from_a_result():
    shares = [np.random.default_rng(each).normal(size=(3, 2)) for each in range(2)]
    found = stages_of(
        Result(
            numbers=[Number(name="reach", value=3), Number(name="else", value=9), Number(name="reach", value=1)],
            arrays={f"stage {each}": Array(values, ("layer", "head")) for each, values in enumerate(shares, start=1)},
        )
    )
    assert [each.reach for each in found] == [3, 1]
    assert all(np.array_equal(each.shares, values) for each, values in zip(found, shares, strict=True))


def test_every_other_task_is_held_against_the_known_one():
    circuits = {"a": [stage([(1, 1)])], "b": [stage([(1, 1)])], "c": [stage([(2, 2)])], "d": []}
    found = Result(numbers=overlaps(circuits, "b", [1]))
    assert found.value("num_shared_heads", task="a", stage="all") == 1
    assert found.value("num_shared_heads", task="c", stage="all") == 0
    assert {each.where["task"] for each in found.numbers} == {"a", "c"}


def test_effects_that_rise_with_what_a_head_carries_correlate_whatever_their_signs():
    """Each head has its larger share in one of the stages; those of the last layers send nothing to the second."""
    rng = np.random.default_rng(0)
    first, second = Stage(rng.normal(size=(8, 5)), reach=8), Stage(rng.normal(size=(8, 5)), reach=6)
    second.shares[6:] = 0
    carried = np.maximum(np.abs(first.shares), np.abs(second.shares))
    signs = rng.choice([-1, 1], size=carried.shape)
    found = Result(numbers=correlation([first, second], signs * carried**3, rng))
    assert found.value("rank_correlation") == pytest.approx(1)
    assert found.number("rank_correlation").interval == pytest.approx((1, 1))
    assert found.value("rank_correlation_p_value") < 0.001
    assert found.value("num_correlated_heads") == 40
    alone = Result(numbers=correlation([second], carried, rng))
    assert alone.value("num_correlated_heads") == 30  # from which a path leads
    assert alone.value("rank_correlation") < 0.95


def test_effects_that_have_nothing_to_do_with_it_do_not_correlate():
    rng = np.random.default_rng(1)
    within = []
    for _ in range(6):
        found = Result(numbers=correlation([Stage(rng.normal(size=(6, 5)), 6)], rng.normal(size=(6, 5)), rng))
        low, high = found.number("rank_correlation").interval
        within.append(low < 0 < high)
    assert np.mean(within) >= 0.8
    assert correlation([Stage(rng.normal(size=(6, 5)), 6)], np.zeros((6, 5)), rng) == []
    assert correlation([], np.zeros((6, 5)), rng) == []
