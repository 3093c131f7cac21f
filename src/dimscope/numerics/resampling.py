"""How far a number can be trusted: intervals for shares, means and any statistic, and tests by permutation.

Wilson 1927 (JASA 22(158):209) for shares; Student's t for means over seeds; the percentile bootstrap (Efron
1979, Ann. Statist. 7(1):1); permutation p-values count the observed arrangement too (Phipson & Smyth 2010,
SAGMB 9(1):39), so they are never 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.stats import binomtest, rankdata, t

from dimscope.core.errors import UserError

ROUNDING = 1e-12
"""Statistics that are nearer than this are equal, so that ties in permutations count."""


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Give Wilson's score interval of a share.

    Raises:
        UserError: there is no trial, or not 0 … trials successes.

    >>> wilson_interval(0, 10)
    (0.0, 0.27753...)
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise UserError(f"a share needs a trial and at most as many successes; {successes} of {trials} came")
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(values: Float[np.ndarray, " values"], confidence: float = 0.95) -> tuple[float, float]:
    """Give Student's interval of the mean of independent values; (nan, nan) for fewer than two.

    >>> mean_interval(np.array([1.0, 3.0]))
    (-10.706..., 14.706...)
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    margin = t.ppf((1 + confidence) / 2, len(values) - 1) * error
    return float(mean - margin), float(mean + margin)


def bootstrap_interval(
    values: Float[np.ndarray, "values ..."],
    statistic: Callable[[np.ndarray], float],
    rng: np.random.Generator,
    num_resamples: int = 9999,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Give the percentile interval of a statistic over rows drawn with replacement.

    Raises:
        UserError: there are no values.

    >>> bootstrap_interval(np.array([0.0, 1.0]), np.mean, np.random.default_rng(0), num_resamples=200)
    (0.0, 1.0)
    """
    if len(values) == 0:
        raise UserError("the bootstrap needs at least one value, and none came")
    draws = (values[rng.integers(len(values), size=len(values))] for _ in range(num_resamples))
    tail = (1 - confidence) / 2
    low, high = np.quantile([statistic(draw) for draw in draws], [tail, 1 - tail])
    return float(low), float(high)


def spearman(x: Float[np.ndarray, " pairs"], y: Float[np.ndarray, " pairs"]) -> float:
    """Give Spearman's rank correlation, ties at their average rank; nan where x or y is constant or has nan.

    >>> round(spearman(np.array([1.0, 2.0, 9.0]), np.array([5.0, 7.0, 6.0])), 6)
    0.5
    """
    return float(_unit_ranks(x) @ _unit_ranks(y))


def spearman_permutation(
    x: Float[np.ndarray, " pairs"],
    y: Float[np.ndarray, " pairs"],
    rng: np.random.Generator,
    num_permutations: int = 9999,
) -> tuple[float, float]:
    """Give Spearman's rank correlation and its two-sided permutation p-value.

    Ties have their average rank. Where x or y is constant or has nan there is no correlation: (nan, nan).

    >>> x = np.arange(16.0)
    >>> spearman_permutation(x, -(x**2), np.random.default_rng(0), num_permutations=999)
    (-1.0, 0.001)
    """
    of_x, of_y = _unit_ranks(x), _unit_ranks(y)
    correlation = spearman(x, y)
    if np.isnan(correlation):
        return float("nan"), float("nan")
    by_chance = np.array([of_x @ rng.permutation(of_y) for _ in range(num_permutations)])
    return correlation, permutation_p_value(abs(correlation), np.abs(by_chance))


def permutation_p_value(value: float, by_chance: Float[np.ndarray, " permutations"]) -> float:
    """Give the share of values at least as large, the observed one counted among them.

    >>> permutation_p_value(2.0, np.array([0.0, 1.0, 2.0]))
    0.5
    """
    return (1 + int((by_chance >= value - ROUNDING).sum())) / (1 + len(by_chance))


def _unit_ranks(values: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    """Center the ranks and give them length 1: a product of two is their correlation; nan for a constant."""
    ranks = rankdata(values) - (len(values) + 1) / 2
    length = np.linalg.norm(ranks)
    return ranks / length if length > 0 else np.full(len(values), np.nan)
