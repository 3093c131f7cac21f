"""The 95 % interval of a statistic that equal rows would spoil: random splits of the rows into two halves.

The two halves of a random split are independent samples of half the size, so the difference of their values has four
times the variance of the whole sample's value wherever that falls as 1 / rows. Averaged over splits, a quarter of the
squared difference is the variance (the random group method, Wolter 2007, Introduction to Variance Estimation, chapter
2, with two groups and many splits). The bootstrap draws rows twice: they are their own nearest neighbors at distance
0, and they lower the rank of a covariance. The interval tells of the sampling of the rows, not of a bias.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from dimscope.core.errors import UserError

ERRORS_OF_95_PERCENT = 1.96
"""Standard errors of a Gaussian on each side of its 95 % interval."""

Values = Float[np.ndarray, " values"]


def halves_interval(
    statistic: Callable[[Int[np.ndarray, " rows"]], Values],
    num_rows: int,
    rng: np.random.Generator,
    num_splits: int = 20,
) -> tuple[Values, Values, Values]:
    """Give the values of a statistic of all rows, and the low and high ends of their intervals.

    `statistic` takes the places of the rows that it is to look at, and gives one value or several.

    Raises:
        UserError: there are fewer than four rows, so that a half has no two.

    >>> height = np.array([1.0, 2.0, 3.0, 4.0])
    >>> value, low, high = halves_interval(lambda rows: height[rows].mean(keepdims=True), 4, np.random.default_rng(0))
    >>> bool(low[0] < value[0] < high[0])
    True
    """
    if num_rows < 4:
        raise UserError(f"an interval from halves needs at least four sentences, and {num_rows} came: take more")
    values = statistic(np.arange(num_rows))
    orders = (rng.permutation(num_rows) for _ in range(num_splits))
    halves = (np.array_split(order, 2) for order in orders)
    differences = np.stack([statistic(first) - statistic(second) for first, second in halves])
    margin = ERRORS_OF_95_PERCENT * np.sqrt(np.square(differences).mean(axis=0)) / 2
    return values, values - margin, values + margin
