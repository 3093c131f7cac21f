"""GELU, x · Φ(x), and its slope, Φ(x) + x · φ(x), of vectors: in float32 to within 2e-5, of which bfloat16 keeps less.

Less ½ both factors are odd: x times a polynomial of x², which a fit at Chebyshev's nodes gives. Hendrycks & Gimpel
2016, arXiv:1606.08415.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numpy.polynomial import chebyshev

from dimscope.numerics.kernels.vectors import added_product, all_of, larger, smaller

_FAR = 5.0
"""Beyond it both are taken for what they are there: 3e-7 and 7e-6 from 0 or 1."""
_TERMS = 13


def _share(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def _slope(x: float) -> float:
    return _share(x) + x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _fitted(function: Callable[[float], float]) -> list[float]:
    """Give the factors of the powers of 2 (x / far)² - 1 in (function(x) - ½) / x."""

    def even(place: float) -> float:
        x = _FAR * math.sqrt((place + 1) / 2)
        return (function(x) - 0.5) / x

    return chebyshev.cheb2poly(chebyshev.chebinterpolate(np.vectorize(even), _TERMS - 1)).tolist()


_OF_SHARE, _OF_SLOPE = _fitted(_share), _fitted(_slope)


def gelu(builder: ir.IRBuilder, numbers: list[ir.Value]) -> list[ir.Value]:
    """Give the GELU of each number of some vectors."""
    return [builder.fmul(x, share) for x, share in zip(numbers, _odd(builder, numbers, _OF_SHARE), strict=True)]


def slope_of_gelu(builder: ir.IRBuilder, numbers: list[ir.Value]) -> list[ir.Value]:
    """Give the derivative of GELU at each number of some vectors."""
    return _odd(builder, numbers, _OF_SLOPE)


def _odd(builder: ir.IRBuilder, numbers: list[ir.Value], factors: list[float]) -> list[ir.Value]:
    """Take the same step for every vector before the next step: each one waits for the one before."""
    numbers = [smaller(builder, all_of(_FAR), larger(builder, all_of(-_FAR), x)) for x in numbers]
    places = [added_product(builder, all_of(-1.0), builder.fmul(x, x), all_of(2 / _FAR**2)) for x in numbers]
    squares = [builder.fmul(place, place) for place in places]
    evens, odds = (_polynomials(builder, squares, factors[first::2]) for first in (0, 1))
    values = [added_product(builder, *given) for given in zip(evens, odds, places, strict=True)]
    return [added_product(builder, all_of(0.5), x, value) for x, value in zip(numbers, values, strict=True)]


def _polynomials(builder: ir.IRBuilder, numbers: list[ir.Value], factors: list[float]) -> list[ir.Value]:
    values = [all_of(factors[-1])] * len(numbers)
    for factor in reversed(factors[:-1]):
        values = [added_product(builder, all_of(factor), value, x) for value, x in zip(values, numbers, strict=True)]
    return values
