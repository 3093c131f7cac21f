from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from dimscope.core.errors import UserError
from dimscope.numerics.resampling import (
    bootstrap_interval,
    mean_interval,
    permutation_p_value,
    spearman_permutation,
    wilson_interval,
)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (7, 10), (10, 10), (61_000, 67_349)])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_wilson_solves_its_equation(successes, trials, confidence):
    z, share = stats.norm.ppf((1 + confidence) / 2), successes / trials
    roots = np.roots([1 + z**2 / trials, -2 * share - z**2 / trials, share**2])
    np.testing.assert_allclose(wilson_interval(successes, trials, confidence), np.sort(roots), atol=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_share(successes, trials):
    with pytest.raises(UserError, match=f"{successes} of {trials} came"):
        wilson_interval(successes, trials)


def test_mean_interval_is_that_of_the_t_test():
    values = np.array([0.81, 0.84, 0.79, 0.86])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    np.testing.assert_allclose(mean_interval(values, 0.9), expected)
    assert mean_interval(np.array([0.5, 0.5, 0.5])) == (0.5, 0.5)
    assert np.isnan(mean_interval(np.array([0.5]))).all()


def test_bootstrap_of_two_values_has_three_means():
    # Two values give the mean 0, 1/2 or 1 with probabilities 1/4, 1/2, 1/4.
    values, rng = np.array([0.0, 1.0]), np.random.default_rng(0)
    assert bootstrap_interval(values, np.mean, rng, 2000, confidence=0.6) == (0.0, 1.0)
    assert bootstrap_interval(values, np.mean, rng, 2000, confidence=0.4) == (0.5, 0.5)


def test_bootstrap_of_a_mean_is_about_normal_and_follows_the_generator():
    values = np.random.default_rng(1).standard_normal(400)
    found = bootstrap_interval(values, np.mean, np.random.default_rng(2), 4000)
    expected = values.mean() + np.array([-1.96, 1.96]) * values.std() / 20
    np.testing.assert_allclose(found, expected, atol=0.008)
    assert found == bootstrap_interval(values, np.mean, np.random.default_rng(2), 4000)


def test_bootstrap_keeps_rows_together():
    x = np.random.default_rng(3).standard_normal(50)
    pairs = np.column_stack([x, 2 * x])
    low, high = bootstrap_interval(pairs, lambda rows: np.corrcoef(rows.T)[0, 1], np.random.default_rng(4), 100)
    assert (low, high) == pytest.approx((1, 1))


def test_bootstrap_needs_values():
    with pytest.raises(UserError, match="at least one value"):
        bootstrap_interval(np.array([]), np.mean, np.random.default_rng(0))


def test_spearman_is_scipys_with_ties():
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 6, 80).astype(float), rng.integers(0, 4, 80).astype(float)
    correlation, _ = spearman_permutation(x, x + 3 * y, rng, 10)
    assert correlation == pytest.approx(stats.spearmanr(x, x + 3 * y).statistic, abs=1e-12)


@pytest.mark.parametrize("y", [[1.0, 2.0, 3.0, 5.0, 4.0], [2.0, 1.0, 1.0, 0.0, 3.0], [5.0, 3.0, 3.0, 2.0, 1.0]])
def test_spearman_p_value_is_that_of_all_permutations(y):
    x = np.array([1.0, 2.0, 2.0, 4.0, 7.0])
    all_of_them = np.array([stats.spearmanr(x, each).statistic for each in itertools.permutations(y)])
    observed = stats.spearmanr(x, y).statistic
    exact = (np.abs(all_of_them) >= abs(observed) - 1e-9).mean()
    _, p_value = spearman_permutation(x, np.array(y), np.random.default_rng(6), 9999)
    assert p_value == pytest.approx(exact, abs=0.02)


def test_spearman_p_values_of_independent_data_are_uniform():
    rng = np.random.default_rng(7)
    p_values = [spearman_permutation(*rng.standard_normal((2, 15)), rng, 199)[1] for _ in range(300)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


@pytest.mark.parametrize("x", [[1.0, 1.0, 1.0], [1.0, np.nan, 2.0]])
def test_spearman_of_a_constant_or_nan_is_none(x):
    for pair in ((np.array(x), np.arange(3.0)), (np.arange(3.0), np.array(x))):
        assert np.isnan(spearman_permutation(*pair, np.random.default_rng(0), 9)).all()


def test_permutation_p_value_counts_ties_up_to_rounding_and_is_never_zero():
    assert permutation_p_value(0.1 + 0.2, np.array([0.1 + 0.2, 0.3, 0.0])) == 3 / 4
    assert permutation_p_value(9.0, np.zeros(99)) == 0.01
