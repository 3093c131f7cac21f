from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dimscope.numerics import binned_cuts, thresholds
from dimscope.numerics.binned_cuts import best_gaps
from dimscope.numerics.thresholds import exact_thresholds

FLOATS = [np.float32, np.float64]


@pytest.fixture
def narrow(monkeypatch):
    """Give bins, and values beyond their ends, to a few sentences too."""
    monkeypatch.setattr(binned_cuts, "SENTENCES_PER_BIN", 1)
    monkeypatch.setattr(binned_cuts, "SAMPLE", 8)
    monkeypatch.setattr(binned_cuts, "FAR_SHARE", 1)
    monkeypatch.setattr(binned_cuts, "COUNTED_ENTRIES", 40)


@st.composite
def _data(draw) -> tuple[np.ndarray, np.ndarray]:
    num_sentences = draw(st.integers(1, 40))
    floats = draw(st.sampled_from(FLOATS))
    some = st.integers(-6, 6) | st.sampled_from([0.1, -0.0, 1e-3, 500.0, -1e30, np.nextafter(floats(1), floats(2))])
    values = draw(arrays(floats, (3, num_sentences), elements=some.map(float).map(floats)))
    return values, draw(arrays(np.int64, num_sentences, elements=st.integers(0, 1)))


def _found(values: np.ndarray, labels: np.ndarray) -> list[tuple[float, float, int]]:
    return list(zip(*(each.tolist() for each in best_gaps(values, labels)), strict=True))


def _by_force(x: np.ndarray, labels: np.ndarray) -> tuple[float, float, int]:
    """Try all cuts from below to above, and keep the first of those that are best."""
    signs = 2 * labels - 1
    best = (-np.inf, -np.inf, int(signs.sum()))
    distinct = np.unique(x)
    for below, above in itertools.pairwise(distinct):
        lead = int(signs[x > below].sum() - signs[x <= below].sum())
        if abs(lead) > abs(best[2]):
            best = (below, above, lead)
    return best


def test_as_by_force(narrow):
    @settings(max_examples=150, deadline=None)
    @given(_data())
    def check(data):
        values, labels = data
        assert _found(values, labels) == [_by_force(x, labels) for x in values]

    check()


def _clouds(num_sentences: int, labels: np.ndarray) -> np.ndarray:
    """Dimensions of many kinds: near or far from 0, with a signal or none, with ties, far values, no spread."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((9, num_sentences))
    normal[1] += labels
    normal[2] = 1e4 + 1e-2 * normal[2]
    normal[3] = rng.integers(0, 20, num_sentences)
    normal[4] = rng.standard_t(3, num_sentences)
    normal[5] = np.where(rng.random(num_sentences) < 0.9, 0, normal[5])
    normal[6] = 0.1
    normal[7] *= 1e37
    normal[8] *= 1e-44
    return normal


@pytest.mark.parametrize("floats", [np.float16, *FLOATS])
def test_the_rules_are_those_of_a_sort(monkeypatch, floats):
    labels = np.random.default_rng(1).integers(0, 2, 9000)
    states = _clouds(9000, labels).T
    states = np.clip(states, np.finfo(floats).min, np.finfo(floats).max).astype(floats)
    binned = exact_thresholds(states, labels, 2)
    monkeypatch.setattr(thresholds, "BINNED_FROM", 9001)
    by_sort = exact_thresholds(states, labels, 2)
    np.testing.assert_array_equal(binned.thresholds, by_sort.thresholds)
    np.testing.assert_array_equal(binned.classes, by_sort.classes)
    np.testing.assert_array_equal(binned.train_accuracy, by_sort.train_accuracy)


def test_the_widest_spread_of_floats_and_the_narrowest():
    most = np.finfo(np.float32).max
    least = np.finfo(np.float32).smallest_subnormal
    labels = np.array([1, 0] * 20)
    values = np.array([[most, -most] * 20, [least, 0.0] * 20], dtype=np.float32)
    assert _found(values, labels) == [(-most, most, 40), (0.0, float(least), 40)]


def test_few_values_are_sorted(monkeypatch):
    labels = np.random.default_rng(1).integers(0, 2, 40_000)
    leads, num_sorted = binned_cuts._leads, []

    def watched(sorted_labels, *given):
        num_sorted.append(len(sorted_labels))
        return leads(sorted_labels, *given)

    monkeypatch.setattr(binned_cuts, "_leads", watched)
    best_gaps(_clouds(40_000, labels)[[0, 1, 2, 4]], labels)
    assert sum(num_sorted) < 4 * 40_000 / 8


def test_labels_of_few_bits_are_enough(narrow):
    values = np.arange(300.0)[None]
    for dtype in (np.int8, np.int32, np.int64):
        assert _found(values, (np.arange(300) >= 200).astype(dtype)) == [(199.0, 200.0, 300)]
