"""Copied rows against numpy's, of either kind of numbers: single numbers and whole vectors, blocks and rests of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dimscope.numerics.kernels.copies import copy_rows, copy_turned

HALVES = np.dtype(np.uint16)


def numbers(kind: np.dtype, *shape: int) -> np.ndarray:
    """Give numbers, not in one piece, of which one is NaN; a bfloat16 as its bits."""
    values = torch.randn(*shape[:-1], 2, shape[-1], generator=torch.Generator().manual_seed(1))
    values.view(-1)[3] = torch.nan
    return (values.bfloat16().view(torch.uint16) if kind == HALVES else values).numpy()[..., 0, :]


def as_float32(values: np.ndarray) -> np.ndarray:
    return torch.from_numpy(values.copy()).view(torch.bfloat16).float().numpy() if values.dtype == HALVES else values


@pytest.mark.parametrize("into", [np.dtype(np.float32), HALVES], ids=str)
@pytest.mark.parametrize("kind", [np.dtype(np.float32), HALVES], ids=str)
@pytest.mark.parametrize("num_numbers", [5, 16, 48, 50])
def test_rows_are_rounded_to_the_nearest_number_and_no_other_is_written(num_numbers, kind, into):
    x, out = numbers(kind, 7, num_numbers), np.full((9, num_numbers + 3), 7, into)
    copy_rows(x, out, 6, num_numbers)
    expected = as_float32(x[:6])
    if into == HALVES:
        expected = torch.from_numpy(expected.copy()).bfloat16().float().numpy()
    np.testing.assert_array_equal(as_float32(out[:6, :num_numbers]), expected)
    assert (out[6:] == 7).all()
    assert (out[:, num_numbers:] == 7).all()


@pytest.mark.parametrize("kind", [np.dtype(np.float32), HALVES], ids=str)
@pytest.mark.parametrize("num_numbers", [5, 16, 48])
@pytest.mark.parametrize("num_rows", [1, 15, 16, 17, 40])
def test_the_transpose(num_rows, num_numbers, kind):
    x, out = numbers(kind, num_rows, num_numbers), np.zeros((num_numbers, -(-num_rows // 16) * 16 + 16), np.float32)
    copy_turned(x, out)
    np.testing.assert_array_equal(out[:, :num_rows], as_float32(x).T)
    assert not out[:, -16:].any()
