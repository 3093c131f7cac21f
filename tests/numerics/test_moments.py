from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from dimscope.core.errors import UserError
from dimscope.numerics.moments import BATCH_ROWS, Moments

pytestmark = pytest.mark.filterwarnings("error")


def _assert_as_scipy(moments: Moments, states: np.ndarray) -> None:
    whole = states.astype(np.float64)
    assert moments.count == len(states)
    np.testing.assert_allclose(moments.mean, whole.mean(axis=0), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(moments.variance, whole.var(axis=0), rtol=1e-10)
    np.testing.assert_allclose(moments.skew, stats.skew(whole), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(moments.kurtosis, stats.kurtosis(whole), rtol=1e-8, atol=1e-9)
    np.testing.assert_array_equal(moments.minimum, states.min(axis=0))
    np.testing.assert_array_equal(moments.maximum, states.max(axis=0))


@pytest.fixture
def skewed() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.gamma(2.0, size=(2 * BATCH_ROWS + 77, 5)) * [1, 10, 1e-3, 1e3, -1]).astype(np.float32)


def test_agree_with_scipy_across_batches(skewed):
    _assert_as_scipy(Moments.of(skewed), skewed)


def test_a_large_mean_cancels_nothing():
    far = (1e4 + 1e-2 * np.random.default_rng(1).standard_normal((3000, 4))).astype(np.float32)
    moments = Moments()
    for start in range(0, len(far), 7):
        moments.update(far[start : start + 7])
    _assert_as_scipy(moments, far)


def test_merging_does_not_mind_the_order(skewed):
    parts = np.split(skewed, [1, 30, 1500])
    for order in itertools.permutations(parts):
        merged = Moments()
        for part in order:
            merged.merge(Moments.of(part))
        _assert_as_scipy(merged, skewed)


def test_rows_one_by_one(skewed):
    moments = Moments()
    for row in skewed[:200]:
        moments.update(row[None])
    _assert_as_scipy(moments, skewed[:200])


def test_a_constant_has_no_variance_and_no_shape():
    states = np.tile(np.array([0.1, -1e4, 0.0], dtype=np.float32), (2 * BATCH_ROWS + 1, 1))
    moments = Moments.of(states)
    moments.merge(Moments.of(states[:3]))
    np.testing.assert_array_equal(moments.variance, np.zeros(3))
    np.testing.assert_array_equal(moments.mean, states[0])
    assert np.isnan(moments.skew).all()
    assert np.isnan(moments.kurtosis).all()


def test_no_rows_change_nothing(skewed):
    moments = Moments.of(skewed[:9])
    moments.merge(Moments())
    moments.update(skewed[:0])
    _assert_as_scipy(moments, skewed[:9])


def test_refuses_what_it_cannot_answer(skewed):
    with pytest.raises(UserError, match="at least one row"):
        _ = Moments().variance
    with pytest.raises(UserError, match="5 dimensions cannot take in states of 2"):
        Moments.of(skewed).update(skewed[:, :2])
    with pytest.raises(UserError, match="dimension 0 has nan"):
        Moments.of(np.array([[np.inf]], dtype=np.float32))
