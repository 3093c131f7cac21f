"""Mean, variance, skew, kurtosis, minimum and maximum of every dimension, in one pass and constant memory.

Each batch is centered on itself in float64, and the sums of powers of the deviations are then merged
pairwise, so that a mean much larger than the spread cancels nothing: Chan, Golub & LeVeque 1979
(STAN-CS-79-773) for the second power, Pébay 2008 (SAND2008-6212, pairwise updates of M2, M3 and M4) for the
third and fourth.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float

from dimscope.core.errors import UserError
from dimscope.numerics.finite import require_finite

BATCH_ROWS = 256
"""Rows turned into float64 at a time: few enough to stay in a processor's caches until all sums are taken."""

BLOCK_ROWS = 32 * BATCH_ROWS
"""Rows that a thread takes at a time; not by the number of cores, which no number may depend on."""

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
        seen = Moments()
        for block in _in_threads(states):
            seen.merge(block)
        self.merge(seen)

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
        square = shift * shift
        self._power4 = (
            self._power4
            + other._power4
            + square * square * (a * b * (a * a - a * b + b * b) / n**3)
            + square * (other._power2 * (6 * a * a / n**2) + self._power2 * (6 * b * b / n**2))
            + shift * (other._power3 * (4 * a / n) - self._power3 * (4 * b / n))
        )
        self._power3 = (
            self._power3
            + other._power3
            + square * shift * (a * b * (a - b) / n**2)
            + shift * (other._power2 * (3 * a / n) - self._power2 * (3 * b / n))
        )
        self._power2 = self._power2 + other._power2 + square * (a * b / n)
        self._mean = self._mean + shift * (b / n)
        self._minimum = np.minimum(self._minimum, other._minimum)
        self._maximum = np.maximum(self._maximum, other._maximum)
        self.count = n

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


def _in_threads(states: Float[np.ndarray, "rows dims"]) -> Iterator[Moments]:
    blocks = [states[start : start + BLOCK_ROWS] for start in range(0, len(states), BLOCK_ROWS)]
    if len(blocks) < 2:
        yield from map(_of_block, blocks)
        return
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        yield from threads.map(_of_block, blocks)


def _of_block(states: Float[np.ndarray, "rows dims"]) -> Moments:
    # Used again for every batch: new memory would take longer than what is done in it.
    scratch = np.empty((2, min(len(states), BATCH_ROWS), states.shape[1]))
    block = Moments()
    for start in range(0, len(states), BATCH_ROWS):
        batch = states[start : start + BATCH_ROWS]
        block.merge(_of_batch(batch, *scratch[:, : len(batch)]))
    return block


def _of_batch(states: Float[np.ndarray, "rows dims"], deviations: np.ndarray, squares: np.ndarray) -> Moments:
    batch = Moments()
    batch.count = len(states)
    batch._minimum, batch._maximum = states.min(axis=0), states.max(axis=0)
    # A value that is not finite would be the smallest or the largest; nan counts as both.
    require_finite(np.stack([batch._minimum, batch._maximum]), "states")
    first = states[0].astype(np.float64)
    # Measured from the first row, a constant dimension deviates by exactly nothing, whatever its value.
    deviations[:] = states
    deviations -= first
    offset = deviations.mean(axis=0)
    deviations -= offset
    np.multiply(deviations, deviations, out=squares)
    batch._mean = first + offset
    batch._power2 = squares.sum(axis=0)
    batch._power3 = np.einsum("rd,rd->d", squares, deviations)
    batch._power4 = np.einsum("rd,rd->d", squares, squares)
    return batch


def _ratio(numerator: PerDim, denominator: PerDim) -> PerDim:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
