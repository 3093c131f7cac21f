from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dimscope.core.errors import UnknownName
from dimscope.data.task import Split, Task

SINGLE = Split(("a", "b", "c"), np.array([0, 1, 1]))
PAIRS = Split(("a", "b", "c"), np.array([0, 1, 1]), ("x", "y", "z"), np.array([-1.0, 0.5, 2.0]))
TASK = Task("t", ("no", "yes"), SINGLE, SINGLE.at(np.array([0])))


def test_sentences_are_chosen_with_all_that_belongs_to_them():
    chosen = PAIRS.at(np.array([2, 0]))
    assert (chosen.texts, chosen.pairs) == (("c", "a"), ("z", "x"))
    np.testing.assert_array_equal(chosen.labels, [1, 0])
    np.testing.assert_array_equal(chosen.scores, [2.0, -1.0])
    assert len(chosen) == 2


def test_inputs_are_texts_or_pairs():
    assert list(SINGLE.inputs()) == [("a",), ("b",), ("c",)]
    assert list(PAIRS.inputs()) == [("a", "x"), ("b", "y"), ("c", "z")]


def test_splits_go_by_name():
    assert TASK.split("train") is TASK.train
    assert TASK.split("validation") is TASK.validation
    with pytest.raises(UnknownName, match="Did you mean 'validation'"):
        TASK.split("validaton")


@pytest.mark.parametrize(
    "other",
    [
        replace(TASK, label_names=("yes", "no")),
        replace(TASK, train=TASK.validation),
        replace(TASK, train=replace(SINGLE, labels=np.array([1, 1, 1]))),
        replace(TASK, train=replace(SINGLE, texts=("a", "b", "d"))),
        replace(TASK, train=replace(SINGLE, pairs=("x", "y", "z"))),
        replace(TASK, train=replace(SINGLE, scores=np.zeros(3))),
        replace(TASK, train=SINGLE.at(np.array([0, 2, 1]))),
    ],
)
def test_the_digest_changes_with_everything_but_the_name(other: Task):
    assert other.digest != TASK.digest
    assert replace(TASK, name="u", notes=("n",)).digest == TASK.digest


def test_the_digest_is_the_same_everywhere():
    # SHA-256 of [["no", "yes"], [[["a"], ["b"], ["c"], [0, 1, 1], null], [["a"], [0], null]]].
    assert TASK.digest == "0d843ee5dd8cbd22cadbfb1f72af222707cd814be2751775c05b88642177e1e0"
