from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimscope.core.errors import UserError
from dimscope.data.splits import choose, hold_out, limited, num_contradictory, without
from dimscope.data.task import Split

CLASSES = st.lists(st.integers(2, 40), min_size=2, max_size=5)


def split_of(counts: list[int]) -> Split:
    labels = np.repeat(np.arange(len(counts)), counts)
    return Split(tuple(f"sentence {number}" for number in range(len(labels))), labels)


@given(CLASSES, st.data())
def test_everything_is_chosen_or_left_once_and_classes_keep_their_share(counts: list[int], data: st.DataObject):
    labels = split_of(counts).labels
    total = data.draw(st.integers(len(counts), len(labels)))
    chosen, rest = choose(labels, total)
    assert sorted([*chosen, *rest]) == list(range(len(labels)))
    assert len(chosen) == total
    taken = np.bincount(labels[chosen], minlength=len(counts))
    assert taken.min() >= 1
    exact = [Fraction(count * total, len(labels)) for count in counts]
    if min(exact) >= 1:
        assert all(abs(own - share) < 1 for own, share in zip(taken.tolist(), exact, strict=True))


def test_equal_classes_are_parted_equally():
    train, validation = hold_out(split_of([4265, 4265]), 0.12)
    assert np.bincount(train.labels).tolist() == [3753, 3753]
    assert np.bincount(validation.labels).tolist() == [512, 512]


@given(CLASSES, st.floats(0.01, 0.5))
def test_every_class_stands_on_both_sides(counts: list[int], fraction: float):
    train, validation = hold_out(split_of(counts), fraction)
    assert set(train.labels) == set(validation.labels) == set(range(len(counts)))
    assert len(train) + len(validation) == sum(counts)


def test_the_parts_are_shuffled_and_always_the_same():
    split = split_of([500, 500])
    first, second = hold_out(split, 0.2), hold_out(split, 0.2)
    for part, again in zip(first, second, strict=True):
        assert part.texts == again.texts
        # 20 standard deviations from a sorted order: the first half holds as much of either class as the second.
        half = len(part) // 2
        assert abs(part.labels[:half].mean() - part.labels[half:].mean()) < 0.3


def test_a_single_sentence_of_a_class_cannot_be_parted():
    with pytest.raises(UserError, match="1 of 3 classes have a single sentence"):
        hold_out(split_of([5, 1, 4]), 0.5)


def test_a_limit_keeps_the_proportions():
    taken = limited(split_of([300, 100]), 40)
    assert np.bincount(taken.labels).tolist() == [30, 10]
    assert len(set(taken.texts)) == 40


def test_a_smaller_limit_takes_of_the_same_sentences():
    split = split_of([300, 100])
    assert set(limited(split, 40).texts) < set(limited(split, 80).texts)


def test_a_limit_that_takes_all_changes_nothing():
    split = split_of([3, 2])
    assert limited(split, 5) is split


def test_a_limit_below_the_number_of_classes_is_refused():
    with pytest.raises(UserError, match="limit of 2 is too small for 3 classes"):
        limited(split_of([3, 3, 3]), 2)


def test_a_class_that_is_not_there_takes_no_place():
    assert len(limited(Split(("a", "b", "c"), np.array([0, 2, 2])), 2)) == 2


def test_only_word_for_word_the_same_is_removed():
    split = Split(("a", "b", "c"), np.array([0, 1, 0]), ("x", "y", "z"))
    other = Split(("a", "b", "z"), np.array([1, 1, 1]), ("x", "z", "c"))
    assert list(without(split, other).inputs()) == [("b", "y"), ("c", "z")]


def test_contradictions_are_counted():
    split = Split(("a", "b", "a", "c", "a", "c"), np.array([0, 0, 1, 1, 0, 1]))
    assert num_contradictory(split) == 3
