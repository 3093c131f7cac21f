from __future__ import annotations

import numpy as np
import pytest

from dimscope.core.errors import UserError
from dimscope.numerics.outliers import (
    constant_mean_dims,
    outlier_dims,
    participation_ratio,
    principal_dim,
    variance_share,
)


def _one_large(num_dims: int, ratio: float) -> np.ndarray:
    """Give variances of 0.1, and one in the middle that is `ratio` times the mean of all."""
    variance = np.full(num_dims, 0.1)
    variance[num_dims // 2] = 0.1 * ratio * (num_dims - 1) / (num_dims - ratio)
    return variance


def test_finds_planted_outliers_exactly():
    states = np.random.default_rng(0).standard_normal((4000, 64))
    states[:, [7, 30, 51]] *= 5
    assert outlier_dims(states.var(axis=0)).tolist() == [7, 30, 51]


@pytest.mark.parametrize("num_dims", [16, 17, 100, 768, 4096])
@pytest.mark.parametrize("factor", [3.0, 5.0, 7.3])
def test_the_boundary_itself_counts(num_dims, factor):
    assert outlier_dims(_one_large(num_dims, factor), factor).tolist() == [num_dims // 2]
    assert outlier_dims(_one_large(num_dims, factor * (1 - 1e-6)), factor).size == 0


def test_fewer_dimensions_than_the_factor_have_no_outlier():
    assert outlier_dims(np.array([0.0, 0.0, 9.0, 0.0])).size == 0
    assert outlier_dims(np.array([0.0, 0.0, 9.0, 0.0, 0.0])).tolist() == [2]


def test_nothing_stands_out_where_nothing_varies():
    assert outlier_dims(np.zeros(10)).size == 0
    assert constant_mean_dims(np.full(10, 3.0)).size == 0


def test_principal_is_the_first_of_the_largest():
    assert principal_dim(np.array([1.0, 4.0, 2.0, 4.0])) == 1


def test_constant_means_are_found_on_both_sides_whatever_the_offset():
    mean = np.random.default_rng(1).standard_normal(384)
    mean[[99, 200]] = [30.0, -30.0]
    for offset in (0.0, 1e3):
        assert constant_mean_dims(mean + offset).tolist() == [99, 200]


def test_sigmas_are_those_of_a_gaussian():
    mean = np.random.default_rng(2).standard_normal(200_001)
    share = len(constant_mean_dims(mean, sigmas=1.959964)) / len(mean)
    assert share == pytest.approx(0.05, abs=0.003)


def test_constant_mean_where_most_means_are_equal():
    mean = np.zeros(100)
    mean[42] = 1e-3
    assert constant_mean_dims(mean).tolist() == [42]
    mean[:40] = np.linspace(-1e-3, 1e-3, 40)
    mean[42] = 1.0
    assert constant_mean_dims(mean).tolist() == [42]


def test_participation_ratio_of_known_spectra():
    assert participation_ratio(np.full(12, 1e-200)) == pytest.approx(12)
    assert participation_ratio(np.array([0.0, 5.0, 0.0])) == pytest.approx(1)
    assert participation_ratio(np.array([2.0, 1.0])) == pytest.approx(9 / 5)
    assert np.isnan(participation_ratio(np.zeros(3)))


def test_variance_share_sums_to_one():
    variance = np.array([1.0, 2.0, 5.0])
    assert variance_share(variance, [2]) == pytest.approx(5 / 8)
    assert variance_share(variance, [0, 1, 2]) == 1
    assert variance_share(variance, []) == 0
    assert np.isnan(variance_share(np.zeros(3), [0]))


@pytest.mark.parametrize("measure", [outlier_dims, principal_dim, participation_ratio, constant_mean_dims])
def test_nan_is_refused(measure):
    with pytest.raises(UserError, match="dimension 1 has nan"):
        measure(np.array([1.0, np.nan, 2.0]))
