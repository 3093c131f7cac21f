import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import rel_entr

from dimscope.core.errors import UserError
from dimscope.numerics.compression_bound import RANGE_BITS, best_bound, description_bits, error_bound, quantize

NUMBERS = arrays(np.float32, st.integers(1, 40), elements=st.floats(-(2**10), 2**10, width=32, allow_subnormal=False))


@given(NUMBERS, st.integers(1, 12))
def test_rounding_goes_to_the_nearest_point_of_a_grid(values, num_bits):
    rounded = quantize(values, num_bits).astype(np.float64)
    largest = np.abs(values).max().astype(np.float64)
    grid = largest * (np.arange(-(2**num_bits) + 1, 2**num_bits, 2) / 2**num_bits)
    assert len(grid) == 2**num_bits
    nearest = np.abs(values[:, None] - grid).min(axis=1)
    np.testing.assert_allclose(np.abs(values - rounded), nearest, atol=1e-6 * largest)
    assert (np.abs(values - rounded) <= largest / 2**num_bits + 1e-6 * largest).all()


@given(NUMBERS)
def test_many_bits_give_the_numbers_back(values):
    np.testing.assert_allclose(quantize(values, 30), values, atol=1e-6 * max(np.abs(values).max(), 1e-30))


def test_what_was_rounded_can_be_written_in_its_bits():
    """The parts' numbers and the range, and nothing else, make the values again."""
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    rounded = quantize(values, 3)
    largest = np.float32(np.abs(values).max())
    numbers = np.round((rounded / largest + 1) / 2 * 8 - 0.5).astype(int)
    assert set(numbers) == set(range(8))
    np.testing.assert_array_equal(rounded, (((2 * numbers + 1) / 8 - 1) * largest.astype(float)).astype(np.float32))
    assert description_bits(1000, 3) == 3000 + RANGE_BITS


def test_nothing_stays_nothing():
    assert (quantize(np.zeros(3), 2) == 0).all()


def test_the_bound_is_the_closed_form():
    # 10 numbers of 4 bits, m = 10,000, δ = 0.05.
    assert error_bound(0.1, 40, 10_000) == pytest.approx(0.1 + math.sqrt((40 * math.log(2) + math.log(20)) / 20_000))
    # No bits: one model, fixed beforehand; Hoeffding's inequality, solved for its margin.
    margin = error_bound(0.0, 0, 50, confidence=0.9)
    assert math.exp(-2 * 50 * margin**2) == pytest.approx(0.1)


@given(st.floats(0, 1), st.integers(1, 10**6), st.integers(1, 10**6))
def test_more_bits_loosen_it_and_more_samples_tighten_it(error, num_bits, num_samples):
    bound = error_bound(error, num_bits, num_samples)
    assert bound > error
    assert error_bound(error, num_bits + 1, num_samples) > bound > error_bound(error, num_bits, num_samples + 1)
    assert error_bound(error, num_bits, num_samples, confidence=0.99) > bound


@pytest.mark.parametrize("num_bits", [1, 6, 10])
def test_it_covers_the_best_looking_of_all_models(num_bits):
    """The worst that training can do: to take, of all 2^b models, that with the fewest errors on the sample."""
    rng = np.random.default_rng(num_bits)
    num_samples, num_trials, error = 60, 2000, 0.4
    sample_errors = rng.binomial(num_samples, error, size=(num_trials, 2**num_bits)).min(axis=1) / num_samples
    bounds = np.array([error_bound(each, num_bits, num_samples, confidence=0.8) for each in sample_errors])
    assert (bounds >= error).mean() >= 0.8
    # A bound for one model would not hold for the best of many.
    single = np.array([error_bound(each, 0, num_samples, confidence=0.8) for each in sample_errors])
    assert num_bits < 6 or (single >= error).mean() < 0.8


def test_it_is_looser_than_the_exact_tail_but_not_absurd():
    """Chernoff's exponent, KL(p̂ ‖ L) = nats / m, is exact for shares; Hoeffding's bound lies above its solution."""
    nats, num_samples = 40 * math.log(2) + math.log(20), 10_000
    grid = np.linspace(0.1, 0.3, 20_001)
    divergence = rel_entr(0.1, grid) + rel_entr(0.9, 1 - grid)
    exact = grid[np.searchsorted(divergence, nats / num_samples)]
    assert exact < error_bound(0.1, 40, num_samples) < exact + 0.02


def test_the_choice_is_paid_for():
    errors = {1: 0.4, 2: 0.2, 4: 0.11, 8: 0.10}
    num_bits, bound = best_bound(errors, num_values=50, num_samples=5000)
    paid = {bits: error_bound(error, 50 * bits + 32 + 2, 5000) for bits, error in errors.items()}  # log2(4) = 2
    assert (num_bits, bound) == (min(paid, key=paid.get), pytest.approx(min(paid.values())))
    alone = best_bound({4: 0.11}, 50, 5000)[1]
    assert alone == pytest.approx(error_bound(0.11, 50 * 4 + 32, 5000))
    assert alone < error_bound(0.11, 50 * 4 + 32 + 2, 5000)


def test_the_choice_among_several_covers_too():
    """As above, with three families of models of which the sample picks the lowest bound."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        errors = {bits: rng.binomial(60, 0.4, size=2 ** (3 * bits)).min() / 60 for bits in (1, 2, 3)}
        held += best_bound(errors, num_values=3, num_samples=60, confidence=0.8)[1] >= 0.4
    assert held >= 800


def test_what_cannot_be_bounded_is_refused():
    with pytest.raises(UserError, match="at least one bit for each number, got 0"):
        quantize(np.ones(2), 0)
    with pytest.raises(UserError, match=r"got 0 and 0\.95"):
        error_bound(0.1, 10, 0)
    with pytest.raises(UserError, match=r"got 10 and 1\.0"):
        error_bound(0.1, 10, 10, confidence=1.0)
    with pytest.raises(UserError, match="at least one number of bits to choose from"):
        best_bound({}, 10, 10)
