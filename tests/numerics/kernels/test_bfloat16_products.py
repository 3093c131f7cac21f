"""Products of pairs against float64, from the numbers as they were rounded."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import gelu

from dimscope.numerics.kernels.bfloat16_products import (
    fits,
    gelu_of_product,
    product,
    product_and_gelu,
    product_times_slope,
    turned_product,
)
from dimscope.numerics.kernels.pairs import COLUMNS, ROWS, adds_pairs, gathered, laid_out

pytestmark = pytest.mark.skipif(not adds_pairs(), reason="this processor does not add products of pairs")

# Rows, depth, columns: one group and one panel, such that divide, and rests of each; more than a piece of rows.
SIZES = [(6, 64, 64), (12, 64, 128), (7, 66, 70), (13, 130, 94), (131, 70, 200)]
ROUNDING = 2.0**-8
"""By so much of a number its nearest bfloat16 is away at most."""


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def halves(*shape: int, seed: int) -> torch.Tensor:
    return drawn(*shape, seed=seed).bfloat16()


def is_rounded(found: torch.Tensor, exact: torch.Tensor, more: float = 1e-5) -> bool:
    """Tell whether these are sums in float32, rounded once; what comes to that is less than `more`."""
    return bool(((found.double() - exact).abs() <= ROUNDING * exact.abs() + more).all())


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize(("rows", "depth", "columns"), SIZES)
def test_products_there_and_back_are_rounded_once(rows, depth, columns, num_threads):
    weight, bias = drawn(columns, depth, seed=0), drawn(columns, seed=1)
    values, gradient = halves(rows, depth, seed=2), halves(rows, columns, seed=3)
    there, back = laid_out(weight, num_threads=num_threads)
    exact = weight.bfloat16().double()
    assert is_rounded(product(values, there, bias, num_threads), values.double() @ exact.T + bias)
    assert is_rounded(product(gradient, back, None, num_threads), gradient.double() @ exact)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize(("columns", "depth", "rows"), SIZES)
def test_the_turned_product_and_its_sums_are_float32(rows, depth, columns, num_threads):
    """Depths of both kinds: an odd row has a partner of zeros."""
    for left, right in ((halves(depth + odd, rows, seed=4), halves(depth + odd, columns, seed=5)) for odd in (0, 1)):
        if columns < COLUMNS or rows < 16:
            left, right = left.repeat(1, 16), right.repeat(1, 16)
        out, sums = turned_product(left, right, num_threads)
        torch.testing.assert_close(out.double(), left.double().T @ right.double(), atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(sums.double(), left.double().sum(0), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize(("rows", "depth", "columns"), SIZES)
def test_gelu_and_its_slope_are_taken_before_sums_are_rounded(rows, depth, columns, num_threads):
    weight, bias = drawn(columns, depth, seed=0) / 8, drawn(columns, seed=1)
    values = halves(rows, depth, seed=2)
    there, _ = laid_out(weight, num_threads=num_threads)
    exact = values.double() @ weight.bfloat16().double().T + bias
    inactive, active = product_and_gelu(values, there, bias, num_threads)
    assert torch.equal(inactive, product(values, there, bias, num_threads))
    assert torch.equal(active, gelu_of_product(values, there, bias, num_threads))
    assert is_rounded(active, gelu(exact), more=1e-4)
    onward = drawn(depth, columns, seed=4) / 8
    _, back = laid_out(onward, num_threads=num_threads)
    at = halves(rows, columns, seed=5).double().requires_grad_()
    (slopes,) = torch.autograd.grad(gelu(at).sum(), at)
    found = product_times_slope(values, back, at.detach().bfloat16(), num_threads)
    assert is_rounded(found, values.double() @ onward.bfloat16().double() * slopes, more=1e-3)


@pytest.mark.parametrize("outputs", [64, 70])
def test_weights_below_each_other_are_as_one(outputs):
    weights = [drawn(outputs, 66, seed=seed) for seed in range(3)]
    for one, other in zip(laid_out(*weights, num_threads=2), laid_out(torch.cat(weights), num_threads=1), strict=True):
        assert one.columns == other.columns
        assert torch.equal(one.pairs, other.pairs)


def test_a_pair_is_two_rows_the_upper_one_in_the_lower_bits():
    matrix = torch.arange(3 * 64).reshape(3, 64).bfloat16()
    groups, panels, sums = gathered(matrix, matrix, 1)
    bits = matrix.view(torch.int16).numpy().view("uint16").astype("uint32")
    for found, of_group in ((panels.pairs[0], slice(64)), (groups.pairs[1], slice(ROWS, 2 * ROWS))):
        pairs = found.numpy().view("uint32")
        assert (pairs[0] == (bits[0] | bits[1] << 16)[of_group]).all()
        assert (pairs[1] == bits[2, of_group]).all()
    assert torch.equal(sums[0], matrix.float().sum(0))


def test_what_is_no_number_stays_none_and_spoils_its_own_row_alone():
    values = halves(13, 64, seed=7)
    values[3, 5], values[9, 0] = float("nan"), float("inf")
    there, _ = laid_out(drawn(64, 64, seed=8).abs() + 1, num_threads=1)
    found = product(values, there, None, 1)
    assert found[3].isnan().all()
    assert found[9].isinf().all()
    assert found[[i for i in range(13) if i not in (3, 9)]].isfinite().all()


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [((6, 64, 64), True), ((5, 64, 64), False), ((6, 63, 64), False), ((6, 64, 65), False), ((6, 62, 64), False)],
)
def test_what_fits(sizes, expected):
    assert fits(*sizes) is expected
