"""Vectors and bfloat16 in compiled code against numpy's and torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba import njit, types

from dimscope.numerics.kernels.instructions import instruction
from dimscope.numerics.kernels.vectors import WIDTH, exponential, got, largest, loaded, put, store, total


def on_a_vector(build):
    """Give what an instruction does with the first vector of an array."""

    def applied(builder, x, first):
        store(builder, build(builder, loaded(builder, x, first)), x, first)

    apply = instruction(types.void, applied)

    @njit
    def change(x):
        apply(x, 0)

    return change


def of_a_vector(build):
    take = instruction(types.float32, lambda builder, x, first: build(builder, loaded(builder, x, first)))

    @njit
    def give(x):
        return take(x, 0)

    return give


@njit
def copy(x, out):
    for i in range(x.size):
        put(out, i, got(x, i))


def test_the_exponential_is_numpys():
    power = on_a_vector(exponential)
    for start in np.linspace(-87, -1, 200, dtype=np.float32):
        x = np.linspace(start, start + 1, WIDTH, dtype=np.float32)
        expected = np.exp(x.astype(np.float64))
        power(x)
        np.testing.assert_allclose(x, expected, rtol=1e-6 if start > -20 else 5e-6)


def test_the_exponential_of_0_is_1_of_nothing_0_and_of_nan_none():
    x = np.array([0.0, -np.inf, -1e30, -88.0, np.nan, *[-1.0] * (WIDTH - 5)], np.float32)
    on_a_vector(exponential)(x)
    np.testing.assert_array_equal(x[:5], np.array([1, 0, 0, 0, np.nan], np.float32))


def test_a_vector_has_a_sum_and_a_largest_number():
    x = np.random.default_rng(0).permutation(np.arange(WIDTH, dtype=np.float32) - 20)
    assert of_a_vector(total)(x) == x.sum()
    assert of_a_vector(largest)(x) == x.max()


@pytest.mark.parametrize("num_bits", [16, 32])
def test_every_bfloat16_is_read_as_it_is(num_bits):
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.uint16)
    out = np.empty(2**16, np.uint16 if num_bits == 16 else np.float32)
    copy(bits.numpy(), out)
    found = torch.from_numpy(out).view(torch.bfloat16).float() if num_bits == 16 else torch.from_numpy(out)
    torch.testing.assert_close(found, bits.view(torch.bfloat16).float(), rtol=0, atol=0, equal_nan=True)


def test_numbers_are_rounded_as_torch_rounds():
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**31), 2**31, [100_000], generator=generator).int()
    # What lies in the middle between two, and the ends of what there is.
    bits[:1000] = bits[:1000] & ~0xFFFF | 0x8000
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 3.4e38, -3.4e38, 1e-45])
    numbers = torch.cat([bits.view(torch.float32), special])
    out = np.empty(len(numbers), np.uint16)
    copy(numbers.numpy(), out)
    found = torch.from_numpy(out).view(torch.bfloat16)
    torch.testing.assert_close(found, numbers.bfloat16(), rtol=0, atol=0, equal_nan=True)
