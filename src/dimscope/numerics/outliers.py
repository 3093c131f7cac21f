"""Which dimensions stand out, by their variance or by their mean, and how much of the variance they hold.

An outlier dimension varies at least `factor` times as much as the dimensions do on average,
Var_j ≥ factor · mean_i Var_i, and the principal one is ρ = argmax_j Var_j (Rudman, Chen & Eickhoff 2023,
2310.17715, section 3, factor 5). As that ratio is at most the number of dimensions, fewer than `factor` of
them have no outlier. The participation ratio is (Σ v)² / Σ v² (Gao et al. 2017, bioRxiv 214262, there of the
eigenvalues of the covariance, here of the variances of the dimensions).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from dimscope.numerics.finite import require_finite

ROUNDING = 1e-9
"""A variance that misses the boundary by this fraction or less has reached it."""

MAD_TO_SIGMA = 1.4826
"""The median absolute deviation of a Gaussian times this is its standard deviation."""

MEAN_DEVIATION_TO_SIGMA = 1.2533
"""The same for the mean absolute deviation."""

PerDim = Float[np.ndarray, " dims"]


def outlier_dims(variance: PerDim, factor: float = 5.0) -> Int[np.ndarray, " outliers"]:
    """Give the dimensions whose variance is at least `factor` times the mean variance, in ascending order.

    The boundary counts, up to a relative rounding error of 1e-9. Where nothing varies, nothing stands out.

    Raises:
        UserError: a variance is not finite.

    >>> outlier_dims(np.array([1.0, 1.0, 1.0, 12.0, 1.0, 1.0]), factor=4.0)
    array([3])
    """
    variance = _in_float64(variance, "variance")
    return np.flatnonzero((variance >= factor * variance.mean() * (1 - ROUNDING)) & (variance > 0))


def principal_dim(variance: PerDim) -> int:
    """Give the dimension of the largest variance, ρ; the first of those on a tie.

    >>> principal_dim(np.array([1.0, 3.0, 3.0]))
    1
    """
    return int(_in_float64(variance, "variance").argmax())


def constant_mean_dims(mean: PerDim, sigmas: float = 6.0) -> Int[np.ndarray, " outliers"]:
    """Give the dimensions whose mean is over `sigmas` robust standard deviations from the median mean.

    The robust standard deviation is 1.4826 · MAD, or 1.2533 times the mean absolute deviation where more than
    half of the means are equal and the MAD is 0 (Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers,
    section 3).

    Raises:
        UserError: a mean is not finite.

    >>> constant_mean_dims(np.array([0.1, -0.2, 0.0, 9.0, 0.2, -0.1]))
    array([3])
    """
    mean = _in_float64(mean, "mean")
    distance = np.abs(mean - np.median(mean))
    sigma = MAD_TO_SIGMA * np.median(distance) or MEAN_DEVIATION_TO_SIGMA * distance.mean()
    return np.flatnonzero(distance > sigmas * sigma)


def participation_ratio(variance: PerDim) -> float:
    """Tell over how many dimensions the variance is spread.

    It is 1 if one dimension holds all, `dims` if all are equal, nan if none varies.

    >>> participation_ratio(np.array([2.0, 2.0, 0.0, 0.0]))
    2.0
    """
    variance = _in_float64(variance, "variance")
    largest = variance.max()
    if largest == 0:
        return float("nan")
    # In units of the largest, so that no square underflows.
    relative = variance / largest
    return float(relative.sum() ** 2 / (relative**2).sum())


def variance_share(variance: PerDim, dims: Sequence[int] | Int[np.ndarray, " chosen"]) -> float:
    """Give the fraction of all variance that these dimensions hold, nan if none varies.

    >>> variance_share(np.array([1.0, 3.0]), [1])
    0.75
    """
    variance = _in_float64(variance, "variance")
    total = variance.sum()
    return float(variance[np.asarray(dims, dtype=int)].sum() / total) if total > 0 else float("nan")


def _in_float64(values: PerDim, what: str) -> PerDim:
    require_finite(values, what)
    return values.astype(np.float64)
