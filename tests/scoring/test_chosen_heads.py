"""What is told of answers before and after, where every answer is made up."""

from __future__ import annotations

import numpy as np
import pytest

from dimscope.core.result import Result
from dimscope.scoring.chosen_heads import compared, others, require_names, too_few
from dimscope.scoring.known import Answered


def answered(right, difference):
    right = np.array(right, bool)
    return Answered(right, right, np.full(len(right), difference, np.float32))


def test_random_heads_are_as_many_others_of_the_same_layers():
    rng, heads = np.random.default_rng(0), [(0, 1), (2, 0), (2, 3)]
    drawn = [others(heads, num_heads=6, rng=rng) for _ in range(200)]
    for each in drawn:
        assert [layer for layer, _ in each] == [0, 2, 2]
        assert len(set(each)) == 3
        assert not set(each) & set(heads)
    assert {head for each in drawn for head in each} == {(0, h) for h in (0, 2, 3, 4, 5)} | {
        (2, h) for h in (1, 2, 4, 5)
    }


def test_a_layer_with_too_few_other_heads_is_told():
    heads = [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert len(others(heads, 4, np.random.default_rng(0))) == 2
    (note,) = too_few(heads, 4)
    assert note.startswith("Of layers 0 more than half")
    assert too_few(heads, 6) == []


def test_changes_and_controls_are_those_of_the_answers():
    before, after = answered([1, 1, 0, 0], 1.0), answered([1, 0, 1, 1], 3.0)
    draws = [answered([0, 0, 0, 0], 0.0), answered([1, 1, 0, 0], 2.0)]
    found = Result(numbers=compared("blocked", before, after, draws))
    for among in ("outputs", "options"):
        where = {"blocked": "chosen heads", "among": among}
        assert found.value("accuracy_change", **where) == 0.25
        assert found.value("newly_right_fraction", **where) == 0.5
        assert found.value("newly_wrong_fraction", **where) == 0.25
        random = found.number("accuracy", blocked="random heads", among=among)
        assert (random.value, random.interval) == (0.25, pytest.approx((0.0125, 0.4875)))
        assert found.value("accuracy_change", blocked="random heads", among=among) == -0.25
    differences = [found.value("mean_logit_difference", blocked=what) for what in ("nothing", "chosen heads")]
    assert differences == [1, 3]
    assert found.value("mean_logit_difference", blocked="random heads") == 1


@pytest.mark.parametrize("names", [("1",), ("1.1", "1.1"), ("1.1.q",), ("a.1",)])
def test_names_that_are_no_different_heads_are_refused(names):
    with pytest.raises(ValueError, match="wanted different heads"):
        require_names(names)
