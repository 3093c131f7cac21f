"""A bound on the error of a model that few bits describe: the fewer they are, the nearer the error on its sample.

Aghajanyan et al. 2020 (2012.13255, section 5.3) quote Arora et al. 2018 (1802.05296, theorem 2.1) in the form
L ≤ L̂ + O(√(d / m)). To have a number one needs the constant, so we take what stands behind it: Hoeffding's inequality
for each of the 2^b models that b bits can describe, and the union bound over them,

    L ≤ L̂ + √((b ln 2 + ln(1 / δ)) / (2 m))    with probability 1 - δ over samples of m.

It holds for all models of b bits at once, so for the one that training found, however it found it. What must not depend
on the sample is how bits become a model: here the base, the seed of the map, and how many numbers there are.

The numbers are rounded to a grid of 2^q points, the middles of equal parts of [-r, r] with r the largest of them, a
float32. So d numbers take d q bits, and r 32 more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from dimscope.core.errors import UserError

RANGE_BITS = 32
"""What the range of a grid takes: one float32."""


def quantize(values: Float[np.ndarray, " numbers"], num_bits: int) -> Float[np.ndarray, " numbers"]:
    """Round to the nearest of 2^num_bits points, which is at most r / 2^num_bits away; r is the largest magnitude.

    >>> quantize(np.array([-1.0, 0.1, 0.9]), num_bits=1)
    array([-0.5,  0.5,  0.5])

    Raises:
        UserError: there is less than one bit for each number.
    """
    if num_bits < 1:
        raise UserError(f"wanted at least one bit for each number, got {num_bits}")
    largest = float(np.float32(np.abs(values).max(initial=0.0)))
    if largest == 0:
        return np.zeros_like(values)
    num_points = 2**num_bits
    part = np.clip(np.floor((values.astype(np.float64) / largest + 1) / 2 * num_points), 0, num_points - 1)
    return (((2 * part + 1) / num_points - 1) * largest).astype(values.dtype)


def description_bits(num_values: int, num_bits: int) -> int:
    """Give the bits that `num_values` numbers take, rounded to `num_bits` each, with their range.

    >>> description_bits(1000, num_bits=4)
    4032
    """
    return num_values * num_bits + RANGE_BITS


def error_bound(sample_error: float, num_description_bits: float, num_samples: int, confidence: float = 0.95) -> float:
    """Give what the error is at most, with this confidence, of a model with such a share of errors on the sample.

    It is no share where it says nothing: 1 and more is vacuous.

    >>> error_bound(0.1, num_description_bits=1000, num_samples=100_000)
    0.158...

    Raises:
        UserError: there is no sample, or no confidence between 0 and 1.
    """
    if num_samples < 1 or not 0 < confidence < 1:
        raise UserError(
            f"wanted at least one sample and a confidence between 0 and 1, got {num_samples} and {confidence}"
        )
    nats = num_description_bits * math.log(2) - math.log1p(-confidence)
    return sample_error + math.sqrt(nats / (2 * num_samples))


def best_bound(
    sample_errors: Mapping[int, float], num_values: int, num_samples: int, confidence: float = 0.95
) -> tuple[int, float]:
    """Give the number of bits for each value whose bound is the lowest, and that bound.

    Which of them is taken may depend on the sample, so each pays for it: log2 of how many there are to choose from.

    >>> best_bound({1: 0.5, 4: 0.1, 8: 0.1}, num_values=10, num_samples=10_000)
    (4, 0.151...)

    Raises:
        UserError: there is nothing to choose from; or as `error_bound` says.
    """
    if not sample_errors:
        raise UserError("wanted at least one number of bits to choose from, and none came")
    choice = math.log2(len(sample_errors))
    bounds = {
        num_bits: error_bound(error, description_bits(num_values, num_bits) + choice, num_samples, confidence)
        for num_bits, error in sample_errors.items()
    }
    best = min(bounds, key=lambda num_bits: bounds[num_bits])
    return best, bounds[best]
