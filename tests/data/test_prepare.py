from __future__ import annotations

import numpy as np
import pytest

from dimscope.core.errors import UserError
from dimscope.data.options import TaskOptions
from dimscope.data.prepare import prepare
from dimscope.data.task import Labeled, Split

NAMES = ("no", "yes")


def balanced(count: int) -> Split:
    return Split(tuple(map(str, range(count))), np.arange(count) % 2)


def test_what_has_no_split_is_split():
    task = prepare("t", Labeled(NAMES, balanced(100), notes=("first",)), TaskOptions(validation_fraction=0.2))
    assert np.bincount(task.train.labels).tolist() == [40, 40]
    assert np.bincount(task.validation.labels).tolist() == [10, 10]
    assert {*task.train.texts, *task.validation.texts} == set(balanced(100).texts)
    assert (task.name, task.label_names) == ("t", NAMES)
    assert task.notes == ("first", "20 of 100 sentences are held out, the same share of every class")


def test_what_has_a_split_keeps_its_order():
    found = Labeled(NAMES, balanced(6), Split(("x", "y"), np.array([1, 0])))
    task = prepare("t", found, TaskOptions())
    assert task.train.texts == balanced(6).texts
    assert task.validation.texts == ("x", "y")
    assert task.notes == ()


def test_leaks_contradictions_and_empty_texts_are_noted():
    train = Split(("a", "b", "", "b"), np.array([0, 0, 1, 1]))
    held_out = Split(("a", "c", " ", "a"), np.array([0, 1, 1, 1]))
    task = prepare("t", Labeled(NAMES, train, held_out), TaskOptions())
    assert task.train.texts == train.texts
    assert task.validation.texts == ("c", " ")
    assert task.notes == (
        "2 held-out sentences also stand in the training data and are left out",
        "2 training sentences stand there again with another class",
        "1 training texts are empty",
        "1 held-out texts are empty",
    )


def test_repeated_sentences_never_stand_on_both_sides():
    split = Split(tuple(str(number % 30) for number in range(100)), np.arange(100) % 30 % 2)
    task = prepare("t", Labeled(NAMES, split), TaskOptions(validation_fraction=0.5, limit=15))
    assert task.validation.texts
    assert not set(task.train.texts) & set(task.validation.texts)


def test_a_limit_holds_for_each_split():
    task = prepare(
        "t", Labeled(NAMES, balanced(100), Split(("x", "y", "z"), np.array([1, 0, 1]))), TaskOptions(limit=10)
    )
    assert np.bincount(task.train.labels).tolist() == [5, 5]
    assert len(task.validation) == 3
    assert task.notes == ("10 of 100 training sentences are taken", "3 of 3 held-out sentences are taken")


def test_a_split_that_is_the_same_again_is_refused():
    with pytest.raises(UserError, match="all held-out sentences of 't' also stand in its training data"):
        prepare("t", Labeled(NAMES, balanced(4), balanced(4)), TaskOptions())
