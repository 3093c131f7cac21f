"""GELU and its slope in vectors against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba import njit, types

from dimscope.numerics.kernels.gelu import gelu, slope_of_gelu
from dimscope.numerics.kernels.instructions import instruction
from dimscope.numerics.kernels.vectors import WIDTH, loaded, store


def of_vectors(function):
    """Give a compiled function that puts what it makes of every number in the number's place."""

    def build(builder, numbers, first):
        places = [first, builder.add(first, first.type(WIDTH))]
        for place, found in zip(places, function(builder, [loaded(builder, numbers, i) for i in places]), strict=True):
            store(builder, found, numbers, place)

    two_vectors = instruction(types.void, build)

    @njit
    def apply(numbers):
        for first in range(0, len(numbers), 2 * WIDTH):
            two_vectors(numbers, first)

    return apply


def found(function, numbers):
    out = numbers.astype(np.float32)
    of_vectors(function)(out)
    return out


@pytest.mark.parametrize(("function", "is_slope"), [(gelu, False), (slope_of_gelu, True)])
def test_both_are_torchs_in_float64_within_2e_5(function, is_slope):
    numbers = np.linspace(-20, 20, 2**16)
    exact = torch.tensor(numbers.astype(np.float32), dtype=torch.float64, requires_grad=True)
    expected = torch.nn.functional.gelu(exact)
    if is_slope:
        (expected,) = torch.autograd.grad(expected.sum(), exact)
    assert np.abs(found(function, numbers) - expected.detach().numpy()).max() < 2e-5


def test_what_is_far_and_what_is_no_number():
    numbers = np.resize([1e30, -1e30, np.nan, 0.0], 2 * WIDTH)
    slopes, values = found(slope_of_gelu, numbers), found(gelu, numbers)
    assert values[0] == pytest.approx(1e30, rel=1e-6)
    assert np.abs(values[1]) < 1e25
    assert values[3] == 0
    np.testing.assert_allclose(slopes[[0, 1, 3]], [1, 0, 0.5], atol=2e-5)
    assert np.isnan(values[2])
    assert np.isnan(slopes[2])
