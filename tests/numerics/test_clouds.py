import numpy as np

from dimscope.numerics.clouds import gaussian_like, isotropic_like, shuffled_dims
from dimscope.numerics.moments import Moments

RNG = np.random.default_rng


def lopsided(num_states):
    """Skewed states of a covariance that is not diagonal, in a plane of three dimensions."""
    factors = RNG(0).exponential(size=(num_states, 2)) - 1
    return factors @ np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]]) + 50


def test_the_gaussian_has_the_mean_and_covariance_and_no_skew():
    states = lopsided(40_000)
    drawn = gaussian_like(states, RNG(1))
    np.testing.assert_allclose(drawn.mean(axis=0), states.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(states.T), atol=0.2)
    assert np.abs(Moments.of(states).skew).min() > 1
    np.testing.assert_allclose(Moments.of(drawn).skew, 0, atol=0.05)
    # The plane stays a plane.
    assert np.linalg.svd(drawn - drawn.mean(axis=0), compute_uv=False)[2] < 1e-4


def test_the_isotropic_gaussian_has_the_mean_variance_everywhere():
    states = lopsided(40_000)
    drawn = isotropic_like(states, RNG(1))
    assert drawn.shape == states.shape
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(3) * states.var(axis=0).mean(), atol=0.2)
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.05)


def test_shuffled_dims_keep_their_values_and_lose_each_other():
    states = lopsided(5000)
    shuffled = shuffled_dims(states, RNG(1))
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(states, axis=0))
    assert np.abs(np.corrcoef(states.T)[0, 1]) > 0.4
    np.testing.assert_allclose(np.corrcoef(shuffled.T), np.eye(3), atol=0.05)
