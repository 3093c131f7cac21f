from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm
from sklearn.metrics import accuracy_score

from dimscope.core.errors import UserError
from dimscope.numerics import thresholds
from dimscope.numerics.thresholds import Rules, exact_thresholds, grid_thresholds

FLOATS = [np.float16, np.float32, np.float64]


@st.composite
def _data(draw, num_classes: int, max_sentences: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """A few states of three dimensions with many ties, and labels."""
    num_sentences = draw(st.integers(1, max_sentences))
    states = draw(arrays(np.int8, (num_sentences, 3), elements=st.integers(-3, 3)))
    labels = draw(arrays(np.int64, num_sentences, elements=st.integers(0, num_classes - 1)))
    return states.astype(draw(st.sampled_from(FLOATS))), labels


def _best_by_force(x: np.ndarray, labels: np.ndarray, num_classes: int) -> float:
    """Try all thresholds at the values themselves, below them, and all classes of the intervals between."""
    tried = itertools.combinations_with_replacement([-np.inf, *np.unique(x)], num_classes - 1)
    intervals = [np.searchsorted(each, x) for each in tried]
    classes = [np.array(each) for each in itertools.product(range(num_classes), repeat=num_classes)]
    return max((chosen[interval] == labels).mean() for interval in intervals for chosen in classes)


@pytest.mark.parametrize(("num_classes", "max_sentences"), [(2, 9), (3, 7), (4, 5)])
def test_exact_is_as_good_as_by_force(num_classes, max_sentences):
    @settings(max_examples=40, deadline=None)
    @given(_data(num_classes, max_sentences))
    def check(data):
        states, labels = data
        rules = exact_thresholds(states, labels, num_classes)
        expected = [_best_by_force(x, labels, num_classes) for x in states.T]
        np.testing.assert_allclose(rules.train_accuracy, expected)
        np.testing.assert_allclose(rules.accuracy(states, labels), expected)
        assert (rules.thresholds[:, 1:] >= rules.thresholds[:, :-1]).all()

    check()


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize(("scale", "shift"), [(1024.0, 3.0), (2.0**-10, -7.0), (-2.0, 0.0)])
def test_exact_is_invariant_to_affine_maps(num_classes, scale, shift):
    rng = np.random.default_rng(0)
    states = rng.integers(-50, 50, (300, 6)).astype(np.float32)
    labels = (rng.integers(0, num_classes, 300) + (states[:, 0] > 0)) % num_classes
    rules = exact_thresholds(states, labels, num_classes)
    mapped = exact_thresholds(states * np.float32(scale) + np.float32(shift), labels, num_classes)
    np.testing.assert_array_equal(mapped.train_accuracy, rules.train_accuracy)
    if scale > 0:
        np.testing.assert_allclose(mapped.thresholds, rules.thresholds * scale + shift)
        np.testing.assert_array_equal(mapped.classes, rules.classes)


def test_exact_approaches_bayes_on_two_gaussians():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 40_000)
    states = rng.standard_normal((40_000, 3)).astype(np.float32)
    states[:, 1] += 2 * labels
    states[:, 2] -= 3 * labels
    rules = exact_thresholds(states[:20_000], labels[:20_000], 2)
    held_out = rules.accuracy(states[20_000:], labels[20_000:])
    np.testing.assert_allclose(held_out, [0.5, norm.cdf(1.0), norm.cdf(1.5)], atol=0.012)
    np.testing.assert_allclose(rules.thresholds[1:, 0], [1.0, -1.5], atol=0.2)
    assert rules.classes[1:].tolist() == [[0, 1], [1, 0]]


def test_three_classes_in_a_planted_order_are_learned_perfectly():
    labels = np.repeat([1, 0, 2], 20)
    states = (10 * np.repeat([0, 1, 2], 20) + np.tile(np.arange(20) % 5, 3))[:, None].astype(np.float32)
    rules = exact_thresholds(states, labels, 3)
    assert rules.thresholds.tolist() == [[7.0, 17.0]]
    assert rules.classes.tolist() == [[1, 0, 2]]
    assert rules.train_accuracy.tolist() == [1.0]


@pytest.mark.parametrize("label", [0, 1, 2])
def test_one_label_is_always_right(label):
    states = np.random.default_rng(2).standard_normal((10, 3)).astype(np.float32)
    for num_classes in (label + 1, max(2, label + 1), 4):
        rules = exact_thresholds(states, np.full(10, label), num_classes)
        assert (rules.train_accuracy == 1).all()
        assert (rules.predict(np.array([[-1e9] * 3, [1e9] * 3])) == label).all()


@pytest.mark.parametrize("num_classes", [2, 3])
def test_equal_values_give_the_majority(num_classes):
    states, labels = np.full((5, 2), 0.1, dtype=np.float32), np.array([1, 0, 1, 1, 0])
    rules = exact_thresholds(states, labels, num_classes)
    assert rules.train_accuracy.tolist() == [0.6, 0.6]
    assert (rules.predict(states) == 1).all()
    assert (rules.thresholds == -np.inf).all()


def test_zeros_of_either_sign_are_equal():
    states = np.array([[-0.0], [0.0], [-0.0], [0.0]], dtype=np.float32)
    assert exact_thresholds(states, np.array([0, 1, 0, 1]), 2).train_accuracy.tolist() == [0.5]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("start", [-1.0, 0.0, 1.0, 1.0 + 2.0**-52, -65504.0])
def test_neighboring_floats_are_separated(dtype, start):
    low = dtype(start)
    states = np.array([[low], [np.nextafter(low, dtype(np.inf))]])
    rules = exact_thresholds(states, np.array([1, 0]), 2)
    assert rules.predict(states)[:, 0].tolist() == [1, 0]


def test_float32_and_float64_take_different_ways_to_the_same_rules():
    rng = np.random.default_rng(3)
    states = rng.standard_normal((500, 8)).astype(np.float32).round(1)
    for num_classes in (2, 3):
        labels = rng.integers(0, num_classes, 500)
        single, double = (exact_thresholds(each, labels, num_classes) for each in (states, states.astype(np.float64)))
        np.testing.assert_array_equal(single.thresholds, double.thresholds)
        np.testing.assert_array_equal(single.classes, double.classes)


def test_blocks_do_not_change_the_rules(monkeypatch):
    rng = np.random.default_rng(4)
    states, labels = rng.standard_normal((50, 20)).astype(np.float32), rng.integers(0, 3, 50)
    whole = exact_thresholds(states, labels, 3)
    monkeypatch.setattr(thresholds, "BLOCK_ENTRIES", 50 * 3 * 3)
    monkeypatch.setattr(thresholds, "ROWS_AT_ONCE", 7)
    blocks = exact_thresholds(states, labels, 3)
    np.testing.assert_array_equal(blocks.thresholds, whole.thresholds)
    np.testing.assert_array_equal(blocks.accuracy(states, labels), whole.train_accuracy)


def _grid_written_out(x: np.ndarray, labels: np.ndarray) -> tuple[float, float, bool]:
    """Equation 1 as it stands: score, threshold, and whether the direction is flipped."""
    best = (-1.0, 0.0, False)
    for epsilon in np.arange(-50, 50.5, 0.5):
        threshold = x.mean() + epsilon
        right = accuracy_score(labels, np.where(x <= threshold, 0, 1))
        if max(right, 1 - right) > best[0]:
            best = (max(right, 1 - right), threshold, 1 - right > right)
    return best


@pytest.mark.parametrize("share_of_ones", [0.5, 0.2])
def test_grid_is_the_papers_arithmetic(share_of_ones):
    rng = np.random.default_rng(5)
    # 64 sentences, so that every accuracy and its complement are exact and ties are ties in the loop too.
    labels = (rng.random(64) < share_of_ones).astype(np.int64)
    scales = np.array([0.1, 1, 3, 10, 40, 200, 1, 3])
    states = rng.standard_normal((64, 8)) * scales + np.outer(labels, scales * [2, -2, 1, -1, 2, -2, 0, 0])
    # A dimension whose values lie on the thresholds themselves.
    states[:, 6] = rng.permutation(np.tile([-3, -1, 1, 3], 16))
    rules = grid_thresholds(states, labels)
    for dim, x in enumerate(states.T):
        score, threshold, is_flipped = _grid_written_out(x, labels)
        assert rules.train_accuracy[dim] == score
        assert rules.thresholds[dim, 0] == pytest.approx(threshold, abs=1e-9)
        assert rules.classes[dim].tolist() == ([1, 0] if is_flipped else [0, 1])
    np.testing.assert_array_equal(rules.accuracy(states, labels), rules.train_accuracy)


def test_grid_has_only_the_mean_for_a_dimension_that_varies_little():
    states = np.array([[0.0], [0.1], [0.2], [0.5]], dtype=np.float32)
    labels = np.array([0, 1, 1, 1])
    assert grid_thresholds(states, labels).train_accuracy.tolist() == [0.75]
    assert exact_thresholds(states, labels, 2).train_accuracy.tolist() == [1.0]


def test_selected_rules_are_those_of_their_dimensions():
    rng = np.random.default_rng(6)
    states, labels = rng.standard_normal((40, 5)).astype(np.float32), rng.integers(0, 2, 40)
    rules = exact_thresholds(states, labels, 2)
    chosen = rules.select([3, 1])
    np.testing.assert_array_equal(chosen.predict(states[:, [3, 1]]), rules.predict(states)[:, [3, 1]])
    np.testing.assert_array_equal(chosen.train_accuracy, rules.train_accuracy[[3, 1]])


def test_a_value_equal_to_a_threshold_lies_below_it():
    rules = Rules(np.array([[0.0, 2.0]]), np.array([[5, 6, 7]]), np.array([1.0]))
    states = np.array([[-1.0], [0.0], [0.5], [2.0], [3.0]])
    assert rules.predict(states)[:, 0].tolist() == [5, 5, 6, 6, 7]
    assert rules.accuracy(states, np.array([5, 5, 6, 7, 7])).tolist() == [0.8]


def test_bad_input_is_named():
    states, labels = np.zeros((3, 4), dtype=np.float32), np.array([0, 1, 0])
    with pytest.raises(UserError, match="for two classes"):
        grid_thresholds(states, np.array([0, 1, 2]))
    with pytest.raises(UserError, match=r"labels of 2 classes are 0 … 1; 0 … 2 came"):
        exact_thresholds(states, np.array([0, 1, 2]), 2)
    with pytest.raises(UserError, match=r"-1 … 1 came"):
        grid_thresholds(states, np.array([0, 1, -1]))
    for learn in (lambda *each: exact_thresholds(*each, 2), grid_thresholds):
        with pytest.raises(UserError, match="a label for each"):
            learn(states[:0], labels[:0])
    rules = exact_thresholds(states, labels, 2)
    with pytest.raises(UserError, match="for 4 dimensions, and the states have 2"):
        rules.predict(states[:, :2])
    states[1, 2] = np.nan
    for use in (lambda: exact_thresholds(states, labels, 2), lambda: rules.predict(states)):
        with pytest.raises(UserError, match="dimension 2 has nan"):
            use()
