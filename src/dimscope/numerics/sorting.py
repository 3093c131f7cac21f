"""Sorting the values of each dimension with the labels that belong to them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

LABEL_BITS = 29
"""A float32 leaves that many last bits of a float64 empty."""


def sorted_with_labels(
    values: Float[np.ndarray, "dims sentences"], labels: Int[np.ndarray, " sentences"]
) -> tuple[Float[np.ndarray, "dims sentences"], Int[np.ndarray, "dims sentences"]]:
    """Sort each dimension; values come back as float64. Labels of equal values may stand in any order.

    >>> [each.tolist() for each in sorted_with_labels(np.array([[3.0, 1.0, 2.0]]), np.array([5, 6, 7]))]
    [[[1.0, 2.0, 3.0]], [[6, 7, 5]]]
    """
    if values.dtype.itemsize == 8:
        order = values.argsort(axis=1)
        return np.take_along_axis(values, order, axis=1), labels[order]
    # Labels that travel in the empty bits need no slow argsort.
    exact = np.array(values, dtype=np.float64, order="C")
    bits = exact.view(np.int64)
    bits |= labels
    exact.sort(axis=1)
    sorted_labels = bits & (2**LABEL_BITS - 1)
    bits ^= sorted_labels
    return exact, sorted_labels
