"""Products of bfloat16 matrices, summed in float32.

oneDNN's are as fast where both factors lie as it likes. These take any number of rows by the same code, where oneDNN
compiles for each, and the gradient of weights comes in float32 from what the passes wrote. A product's sums are in
registers, six rows by 64 columns, past which both factors go in pairs (see `pairs.py`). Where such groups do not divide
the rows, the last one begins sooner; what two of them have in common is the same in both.

GELU and its slope are taken of the sums before they leave the registers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import BFloat16, Float32
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from torch import Tensor

from dimscope.numerics.kernels.gelu import gelu, slope_of_gelu
from dimscope.numerics.kernels.instructions import compiled, everywhere, instruction, pointer, soon_needed
from dimscope.numerics.kernels.pairs import COLUMNS, PAIR, PAIRS, ROWS, Panels, gathered
from dimscope.numerics.kernels.threads import Task, next_range
from dimscope.numerics.kernels.vectors import HALF, VECTOR, WIDTH, loaded, read, rounded_pair, store, variable

_VECTORS = COLUMNS // WIDTH


def fits(rows: int, depth: int, columns: int) -> bool:
    """Tell whether such a product can be taken, there and back."""
    return rows >= ROWS and min(depth, columns) >= COLUMNS and depth % 2 == columns % 2 == 0


def product(
    rows: BFloat16[Tensor, "rows depth"], right: Panels, bias: Float32[Tensor, " columns"] | None, num_threads: int
) -> BFloat16[Tensor, "rows columns"]:
    """Give the product of rows that lie without gaps and what was laid out, plus `bias`."""
    out = rows.new_empty(len(rows), right.columns)
    _multiply(rows, right, out, num_threads, bias=torch.zeros(right.columns) if bias is None else bias)
    return out


def product_and_gelu(
    rows: BFloat16[Tensor, "rows depth"], right: Panels, bias: Float32[Tensor, " columns"], num_threads: int
) -> tuple[BFloat16[Tensor, "rows columns"], BFloat16[Tensor, "rows columns"]]:
    """Give such a product, and the GELU of it before it was rounded."""
    out, active = (rows.new_empty(len(rows), right.columns) for _ in range(2))
    _multiply(rows, right, out, num_threads, bias=bias, active=active)
    return out, active


def gelu_of_product(
    rows: BFloat16[Tensor, "rows depth"], right: Panels, bias: Float32[Tensor, " columns"], num_threads: int
) -> BFloat16[Tensor, "rows columns"]:
    """Give the GELU alone."""
    active = rows.new_empty(len(rows), right.columns)
    _multiply(rows, right, None, num_threads, bias=bias, active=active)
    return active


def product_times_slope(
    rows: BFloat16[Tensor, "rows depth"],
    right: Panels,
    inactive: BFloat16[Tensor, "rows columns"],
    num_threads: int,
) -> BFloat16[Tensor, "rows columns"]:
    """Give the product times the slope of GELU at what is `inactive`: the gradient of that."""
    out = rows.new_empty(len(rows), right.columns)
    _multiply(rows, right, out, num_threads, inactive=inactive)
    return out


def _multiply(left: Tensor, right: Panels, out: Tensor | None, num_threads: int, **more: Tensor) -> None:
    told = dict.fromkeys(_MORE) | more | {"left": left, "right": right.pairs, "out": out}
    _multiplying_rows(num_threads, -(-len(left) // ROWS), **told, **_sizes(len(left), right))


def turned_product(
    left: BFloat16[Tensor, "depth rows"], right: BFloat16[Tensor, "depth columns"], num_threads: int
) -> tuple[Float32[Tensor, "rows columns"], Float32[Tensor, " rows"]]:
    """Give leftᵀ · right and the sums of the left one's columns."""
    groups, panels, sums = gathered(left, right, num_threads)
    out, totals = torch.empty(groups.columns, panels.columns), torch.empty(groups.columns)
    told = {"left": groups.pairs, "right": panels.pairs, "out": out, "sums": sums, "totals": totals}
    _multiplying_groups(num_threads, len(groups.pairs), **told, **_sizes(groups.columns, panels), num_sums=len(sums))
    return out, totals


def _sizes(rows: int, right: Panels) -> dict[str, int]:
    return {"rows": rows, "columns": right.columns, "pairs": right.pairs.shape[1]}


def _tile(finish: Callable[..., None], *, beside: bool = False) -> Any:
    """Build the product of six rows and a panel; the left one's pairs are `step` apart, and its rows `apart`.

    `finish` is built for the sums of every row, told where the first of them stands in `out` and in a row of it.
    `beside` tells that the last thing it is told more is read or written at the same places, after the long loop.
    """

    def build(
        builder: ir.IRBuilder,
        left: ir.Value,
        apart: ir.Value,
        step: ir.Value,
        right: ir.Value,
        pairs: ir.Value,
        out: ir.Value,
        first: ir.Value,
        column: ir.Value,
        columns: ir.Value,
        *more: ir.Value,
    ) -> None:
        number = pairs.type
        places = [(i, j) for i in range(ROWS) for j in range(_VECTORS)]
        starts = [builder.add(first, builder.mul(number(i), columns)) for i in range(ROWS)]
        for matrix, start in itertools.product((out, more[-1]) if beside else (), starts):
            soon_needed(builder, builder.gep(matrix, [start]), COLUMNS * HALF.width // 8)
        sums = {place: variable(builder, VECTOR([0.0] * WIDTH)) for place in places}
        lefts = variable(builder, builder.bitcast(left, PAIR.as_pointer()))
        rights = variable(builder, builder.bitcast(right, PAIRS.as_pointer()))
        with cgutils.for_range(builder, pairs):
            panel = [builder.load(builder.gep(builder.load(rights), [number(j)]), align=4) for j in range(_VECTORS)]
            heads = [builder.gep(builder.load(lefts), [builder.mul(number(i), apart)]) for i in range(ROWS)]
            spread = [everywhere(builder, builder.load(head), PAIRS) for head in heads]
            for i, j in places:
                builder.store(_added_pairs(builder, builder.load(sums[i, j]), spread[i], panel[j]), sums[i, j])
            builder.store(builder.gep(builder.load(lefts), [step]), lefts)
            builder.store(builder.gep(builder.load(rights), [number(_VECTORS)]), rights)
        for i, start in enumerate(starts):
            finish(builder, [builder.load(sums[i, j]) for j in range(_VECTORS)], out, start, column, *more)

    return instruction(types.void, build)


def _added_pairs(builder: ir.IRBuilder, to: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    kind = ir.FunctionType(VECTOR, [VECTOR, PAIRS, PAIRS])
    add = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.dpbf16ps.512")
    return builder.call(add, [to, a, b])


def _put(builder: ir.IRBuilder, sums: list[ir.Value], out: ir.Value, start: ir.Value, _: ir.Value) -> None:
    for one, place in zip(sums, _places(builder, start), strict=True):
        store(builder, one, out, place)


def _put_plus_bias(
    builder: ir.IRBuilder, sums: list[ir.Value], out: ir.Value, start: ir.Value, column: ir.Value, bias: ir.Value
) -> None:
    _round(builder, _plus(builder, sums, bias, column), out, start)


def _put_with_gelu(
    builder: ir.IRBuilder,
    sums: list[ir.Value],
    out: ir.Value,
    start: ir.Value,
    column: ir.Value,
    bias: ir.Value,
    active: ir.Value,
) -> None:
    numbers = _plus(builder, sums, bias, column)
    _round(builder, numbers, out, start)
    _round(builder, gelu(builder, numbers), active, start)


def _put_gelu(
    builder: ir.IRBuilder, sums: list[ir.Value], active: ir.Value, start: ir.Value, column: ir.Value, bias: ir.Value
) -> None:
    _round(builder, gelu(builder, _plus(builder, sums, bias, column)), active, start)


def _put_times_slope(
    builder: ir.IRBuilder, sums: list[ir.Value], out: ir.Value, start: ir.Value, _: ir.Value, inactive: ir.Value
) -> None:
    slopes = slope_of_gelu(builder, [read(builder, inactive, place) for place in _places(builder, start)])
    _round(builder, [builder.fmul(one, slope) for one, slope in zip(sums, slopes, strict=True)], out, start)


def _places(builder: ir.IRBuilder, start: ir.Value) -> list[ir.Value]:
    return [builder.add(start, start.type(i * WIDTH)) for i in range(_VECTORS)]


def _plus(builder: ir.IRBuilder, sums: list[ir.Value], bias: ir.Value, column: ir.Value) -> list[ir.Value]:
    places = zip(sums, _places(builder, column), strict=True)
    return [builder.fadd(one, loaded(builder, bias, place)) for one, place in places]


def _round(builder: ir.IRBuilder, numbers: list[ir.Value], out: ir.Value, start: ir.Value) -> None:
    places = _places(builder, start)
    for i in range(0, _VECTORS, 2):
        pair = rounded_pair(builder, *numbers[i : i + 2])
        builder.store(pair, builder.bitcast(builder.gep(out, [places[i]]), pair.type.as_pointer()), align=2)


_tile_as_it_is, _rounded_tile, _tile_of_gelu = _tile(_put), _tile(_put_plus_bias), _tile(_put_gelu)
_tile_with_gelu, _tile_times_slope = _tile(_put_with_gelu, beside=True), _tile(_put_times_slope, beside=True)


def _multiply_rows(given: Any) -> None:
    """Multiply rows that lie plainly."""
    work = carray(given, 1)[0]
    rows, columns, pairs = work.rows, work.columns, work.pairs
    bias = carray(pointer(work.bias), columns, np.float32)
    out = carray(pointer(work.out), rows * columns, np.uint16)
    active = carray(pointer(work.active), rows * columns, np.uint16)
    inactive = carray(pointer(work.inactive), rows * columns, np.uint16)
    first, last = next_range(given)
    while first < last:
        for panel in range((columns + COLUMNS - 1) // COLUMNS):
            column, right = _panel(work, panel)
            for group in range(first, last):
                row = min(group * ROWS, rows - ROWS)
                start, left = row * columns + column, pointer(work.left + 4 * row * pairs)
                if work.inactive:
                    _tile_times_slope(left, pairs, 1, right, pairs, out, start, column, columns, inactive)
                elif work.active and not work.out:
                    _tile_of_gelu(left, pairs, 1, right, pairs, active, start, column, columns, bias)
                elif work.active:
                    _tile_with_gelu(left, pairs, 1, right, pairs, out, start, column, columns, bias, active)
                else:
                    _rounded_tile(left, pairs, 1, right, pairs, out, start, column, columns, bias)
        first, last = next_range(given)


def _multiply_groups(given: Any) -> None:
    """Multiply groups of rows that were gathered, and total what was added up meanwhile."""
    work = carray(given, 1)[0]
    rows, columns, pairs = work.rows, work.columns, work.pairs
    out = carray(pointer(work.out), rows * columns, np.float32)
    sums = carray(pointer(work.sums), (work.num_sums, rows), np.float32)
    totals = carray(pointer(work.totals), rows, np.float32)
    first, last = next_range(given)
    while first < last:
        for panel in range((columns + COLUMNS - 1) // COLUMNS):
            column, right = _panel(work, panel)
            for group in range(first, last):
                row, left = min(group * ROWS, rows - ROWS), pointer(work.left + 4 * group * ROWS * pairs)
                _tile_as_it_is(left, 1, ROWS, right, pairs, out, row * columns + column, column, columns)
        for row in range(first * ROWS, min(last * ROWS, rows)):
            totals[row] = sums[:, row].sum()
        first, last = next_range(given)


@compiled
def _panel(work: Any, panel: int) -> tuple[int, Any]:
    """Give where a panel's columns begin, and where it lies."""
    return min(panel * COLUMNS, work.columns - COLUMNS), pointer(work.right + 4 * panel * work.pairs * COLUMNS)


_SIZES, _MORE = ("rows", "columns", "pairs"), ("bias", "active", "inactive")
_multiplying_rows = Task(_multiply_rows, "left", "right", "out", *_MORE, *_SIZES)
_multiplying_groups = Task(_multiply_groups, "left", "right", "out", "sums", "totals", "num_sums", *_SIZES)
