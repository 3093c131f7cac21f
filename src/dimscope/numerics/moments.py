"""Mean, variance, skew, kurtosis, minimum and maximum of every dimension, in one pass and constant memory.

Each batch is centered on itself in float64, and the sums of powers of the deviations are then merged
pairwise, so that a mean much larger than the spread cancels nothing: Chan, Golub & LeVeque 1979
(STAN-CS-79-773) for the second power, Pébay 2008 (SAND2008-6212, pairwise updates of M2, M3 and M4) for the
third and fourth.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dimscope.core.errors import UserError
from dimscope.numerics.finite import require_finite

BATCH_ROWS = 1024
"""Rows turned into float64 at a time."""

PerDim = Float[np.ndarray, " dims"]


class Moments:
    """Moments of the rows seen so far; one without rows is the neutral element of `merge`.

    >>> moments = Moments.of(np.array([[1.0, 5.0], [3.0, 5.0]], dtype=np.float32))
    >>> moments.update(np.array([[8.0, 5.0]], dtype=np.float32))
    >>> moments.count, moments.mean.tolist(), moments.skew.round(3).tolist()
    (3, [4.0, 5.0], [0.47, nan])
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = self._power2 = self._power3 = self._power4 = np.zeros(())
        self._minimum, self._maximum = np.array(np.inf), np.array(-np.inf)

    @classmethod
    def of(cls, states: Float[np.ndarray, "rows dims"]) -> Moments:
        """Give the moments of these rows."""
        moments = cls()
        moments.update(states)
        return moments

    def update(self, states: Float[np.ndarray, "rows dims"]) -> None:
        """Take in more rows; none at all is fine.

        Raises:
            UserError: a value is not finite, or there are not as many dimensions as before.
        """
        require_finite(states, "states")
        for start in range(0, len(states), BATCH_ROWS):
            self.merge(self._of_batch(states[start : start + BATCH_ROWS]))

    def merge(self, other: Moments) -> None:
        """Take in what another one has seen.

        Raises:
            UserError: the two have different numbers of dimensions.
        """
        if other.count == 0:
            return
        if self.count and self._mean.shape != other._mean.shape:
            raise UserError(f"moments of {self._mean.size} dimensions cannot take in states of {other._mean.size}")
        a, b, n = self.count, other.count, self.count + other.count
        shift = other._mean - self._mean
        self._power4 = (
            self._power4
            + other._power4
            + shift**4 * (a * b * (a * a - a * b + b * b) / n**3)
            + 6 * shift**2 * (a * a * other._power2 + b * b * self._power2) / n**2
            + 4 * shift * (a * other._power3 - b * self._power3) / n
        )
        self._power3 = (
            self._power3
            + other._power3
            + shift**3 * (a * b * (a - b) / n**2)
            + 3 * shift * (a * other._power2 - b * self._power2) / n
        )
        self._power2 = self._power2 + other._power2 + shift**2 * (a * b / n)
        self._mean = self._mean + shift * (b / n)
        self._minimum = np.minimum(self._minimum, other._minimum)
        self._maximum = np.maximum(self._maximum, other._maximum)
        self.count = n

    @classmethod
    def _of_batch(cls, states: Float[np.ndarray, "rows dims"]) -> Moments:
        # Measured from the first row, a constant dimension deviates by exactly nothing, whatever its value.
        offsets = states.astype(np.float64) - states[0]
        deviations = offsets - offsets.mean(axis=0)
        squares = deviations**2
        batch = cls()
        batch.count = len(states)
        batch._mean = states[0] + offsets.mean(axis=0)
        batch._power2 = squares.sum(axis=0)
        batch._power3 = (squares * deviations).sum(axis=0)
        batch._power4 = (squares**2).sum(axis=0)
        batch._minimum, batch._maximum = states.min(axis=0), states.max(axis=0)
        return batch

    @property
    def mean(self) -> PerDim:
        """The mean, in the unit of the states."""
        return self._seen(self._mean)

    @property
    def variance(self) -> PerDim:
        """The population variance, in the unit of the states squared; exactly 0 for a constant."""
        return self._seen(self._power2) / self.count

    @property
    def skew(self) -> PerDim:
        """The third standardized moment; nan where a dimension is constant."""
        return _ratio(self._seen(self._power3) / self.count, self.variance**1.5)

    @property
    def kurtosis(self) -> PerDim:
        """The excess kurtosis, 0 for a Gaussian; nan where a dimension is constant."""
        return _ratio(self._seen(self._power4) / self.count, self.variance**2) - 3

    @property
    def minimum(self) -> PerDim:
        """The smallest value."""
        return self._seen(self._minimum)

    @property
    def maximum(self) -> PerDim:
        """The largest value."""
        return self._seen(self._maximum)

    def _seen(self, values: np.ndarray) -> PerDim:
        if self.count == 0:
            raise UserError("moments need at least one row, and none came: give them states first")
        return values


def _ratio(numerator: PerDim, denominator: PerDim) -> PerDim:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
