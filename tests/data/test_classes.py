from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimscope.core.errors import UserError
from dimscope.data.classes import number_classes


@pytest.mark.parametrize(
    ("values", "names", "labels"),
    [
        ([1, 0, 1], ("0", "1"), [1, 0, 1]),
        (["10", "9", "-1"], ("-1", "9", "10"), [2, 1, 0]),
        ([2.0, "1", " 2 "], ("1", "2"), [1, 0, 1]),
        (["pos", "neg ", "pos"], ("neg", "pos"), [1, 0, 1]),
        ([True, False], ("False", "True"), [1, 0]),
        (["1", "x"], ("1", "x"), [0, 1]),
        (["0.5", "x"], ("0.5", "x"), [0, 1]),
        (["90071992547409931", "90071992547409930"], ("90071992547409930", "90071992547409931"), [1, 0]),
    ],
)
def test_classes_are_numbered_in_order(values: list[object], names: tuple[str, ...], labels: list[int]):
    found, (numbers,) = number_classes(values)
    assert (found, numbers.tolist()) == (names, labels)


def test_both_splits_are_read_alike():
    names, labels = number_classes(["1", "2", "1"], ["2.0", "1"])
    assert (names, [each.tolist() for each in labels]) == (("1", "2"), [[0, 1, 0], [1, 0]])


@given(st.lists(st.integers(-50, 50), min_size=2))
def test_a_class_keeps_its_name(values: list[int]):
    if len(set(values)) > 1:
        names, (labels,) = number_classes(values)
        assert [int(names[label]) for label in labels] == values


@pytest.mark.parametrize(
    ("train", "validation", "told"),
    [
        ([1, 1], [], "one class, 1"),
        (["a"], ["a"], "one class, 'a'"),
        ([0, 1], [0, 2], "classes that the training data lack: 2"),
        (["a", "b"], ["c", "d"], "lack: 'c', 'd'"),
        (["0.5", "1", "2"], [], r"real numbers such as 0\.5, which look like grades"),
        ([1.5, -2.25], [], "--label-column"),
    ],
)
def test_mistakes_are_told(train: list[object], validation: list[object], told: str):
    with pytest.raises(UserError, match=told):
        number_classes(train, validation)
