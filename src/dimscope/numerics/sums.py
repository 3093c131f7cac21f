"""Sums whose bits are the same on every machine: a library's own sum adds in the order that suits its processor."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor


def sum_of_squares(values: Float[np.ndarray, " n"]) -> float:
    """Add up the squares in float64, one after the other.

    >>> sum_of_squares(np.array([3.0, 4.0]))
    25.0
    """
    return float(np.cumsum(np.square(values, dtype=np.float64))[-1])


def sum_rows(terms: Float[Tensor, "rows columns"]) -> Float[Tensor, " columns"]:
    """Add up the rows by halves, which errs less than one after the other; overwrites the terms.

    >>> import torch
    >>> sum_rows(torch.tensor([[1.0], [2.0], [4.0]]))
    tensor([7.])
    """
    while len(terms) > 1:
        half = len(terms) // 2
        terms[:half] += terms[-half:]
        terms = terms[: len(terms) - half]
    return terms[0]
