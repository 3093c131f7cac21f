from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dimscope.numerics.cuts import best_cut, best_cuts


@st.composite
def _rows(draw, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Three rows of labels with the places where they may be cut."""
    num_sentences = draw(st.integers(1, 7))
    labels = draw(arrays(np.int64, (3, num_sentences), elements=st.integers(0, num_classes - 1)))
    allowed = draw(arrays(bool, (3, num_sentences + 1)))
    allowed[:, 0], allowed[:, -1] = True, False
    return labels, allowed


def _num_right(labels: np.ndarray, places: np.ndarray, classes: np.ndarray) -> int:
    parts = np.split(labels, places)
    return sum(int((part == each).sum()) for part, each in zip(parts, classes, strict=True))


def _best_by_force(labels: np.ndarray, allowed: np.ndarray, num_classes: int) -> int:
    places = itertools.combinations_with_replacement(np.flatnonzero(allowed), num_classes - 1)
    classes = list(itertools.product(range(num_classes), repeat=num_classes))
    return max(_num_right(labels, each, chosen) for each in places for chosen in classes)


@pytest.mark.parametrize("num_classes", [1, 2, 3, 4])
def test_more_than_one_cut_is_as_good_as_by_force(num_classes):
    @settings(max_examples=25, deadline=None)
    @given(_rows(num_classes))
    def check(rows):
        labels, allowed = rows
        cuts = best_cuts(labels, allowed, num_classes)
        for row in range(len(labels)):
            assert cuts.num_right[row] == _best_by_force(labels[row], allowed[row], num_classes)
            assert cuts.num_right[row] == _num_right(labels[row], cuts.places[row], cuts.classes[row])
            assert allowed[row, cuts.places[row]].all()

    check()


@settings(max_examples=50, deadline=None)
@given(_rows(2))
def test_one_cut_is_as_good_as_the_dynamic_program(rows):
    labels, allowed = rows
    one, program = best_cut(labels, allowed), best_cuts(labels, allowed, 2)
    np.testing.assert_array_equal(one.num_right, program.num_right)
    for row in range(len(labels)):
        assert one.num_right[row] == _num_right(labels[row], one.places[row], one.classes[row])
        assert allowed[row, one.places[row]].all()


@settings(max_examples=50, deadline=None)
@given(_rows(4))
def test_cuts_ascend_and_only_those_at_the_beginning_coincide(rows):
    places = best_cuts(*rows, 4).places
    assert ((np.diff(places, axis=1) > 0) | (places[:, 1:] == 0)).all()


def test_one_cut_prefers_the_left_and_then_zero_before_one():
    everywhere = np.array([[True, True, True, True, False]])
    assert best_cut(np.array([[0, 1, 0, 1]]), everywhere).places.tolist() == [[1]]
    balanced = best_cut(np.array([[0, 1]]), np.array([[True, False, False]]))
    assert (balanced.places.tolist(), balanced.classes.tolist()) == ([[0]], [[0, 1]])
