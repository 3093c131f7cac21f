"""Products of bfloat16 matrices, summed in float32.

oneDNN's are as fast where both factors lie as it likes. These take any number of rows by the same code, where oneDNN
compiles for each, and the gradient of weights comes in float32 from what the passes wrote. A product's sums are in
registers, six rows by 64 columns, past which both factors go in pairs (see `pairs.py`). Where such groups do not divide
the rows, the last one begins sooner; what two of them have in common is the same in both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import BFloat16, Float32
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from torch import Tensor

from dimscope.numerics.kernels.instructions import everywhere, instruction, pointer
from dimscope.numerics.kernels.pairs import COLUMNS, PAIR, PAIRS, ROWS, Panels, gathered
from dimscope.numerics.kernels.threads import Task, next_range
from dimscope.numerics.kernels.vectors import HALVES, VECTOR, WIDTH, loaded, rounded, store, variable

_VECTORS = COLUMNS // WIDTH


def fits(rows: int, depth: int, columns: int) -> bool:
    """Tell whether such a product can be taken, there and back."""
    return rows >= ROWS and min(depth, columns) >= COLUMNS and depth % 2 == columns % 2 == 0


def product(
    rows: BFloat16[Tensor, "rows depth"], right: Panels, bias: Float32[Tensor, " columns"] | None, num_threads: int
) -> BFloat16[Tensor, "rows columns"]:
    """Give the product of rows that lie without gaps and what was laid out, plus `bias`."""
    out = rows.new_empty(len(rows), right.columns)
    bias = torch.zeros(right.columns) if bias is None else bias
    told = {"left": rows, "right": right.pairs, "bias": bias, "out": out, "sums": None, "totals": None, "num_sums": 0}
    _multiplying(num_threads, -(-len(rows) // ROWS), **told, **_sizes(out, right))
    return out


def turned_product(
    left: BFloat16[Tensor, "depth rows"], right: BFloat16[Tensor, "depth columns"], num_threads: int
) -> tuple[Float32[Tensor, "rows columns"], Float32[Tensor, " rows"]]:
    """Give leftᵀ · right and the sums of the left one's columns."""
    groups, panels, sums = gathered(left, right, num_threads)
    out, totals = torch.empty(groups.columns, panels.columns), torch.empty(groups.columns)
    told = {"left": groups.pairs, "right": panels.pairs, "out": out, "sums": sums, "totals": totals}
    _multiplying(num_threads, len(groups.pairs), **told, **_sizes(out, panels), bias=None, num_sums=len(sums))
    return out, totals


def _sizes(out: Tensor, right: Panels) -> dict[str, int]:
    return dict(zip(_SIZES, (*out.shape, right.pairs.shape[1]), strict=True))


def _tile(finish: Callable[..., None]) -> Any:
    """Build the product of six rows and a panel; the left one's pairs are `step` apart, and its rows `apart`.

    `finish` is built for every 16 sums, told the place of the first of them in `out` and in a row of it.
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
        for i, j in places:
            along = number(j * WIDTH)
            place = builder.add(builder.add(first, builder.mul(number(i), columns)), along)
            finish(builder, builder.load(sums[i, j]), out, place, builder.add(column, along), *more)

    return instruction(types.void, build)


def _added_pairs(builder: ir.IRBuilder, to: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    kind = ir.FunctionType(VECTOR, [VECTOR, PAIRS, PAIRS])
    add = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.dpbf16ps.512")
    return builder.call(add, [to, a, b])


def _put_plus_bias(
    builder: ir.IRBuilder, sums: ir.Value, out: ir.Value, place: ir.Value, column: ir.Value, bias: ir.Value
) -> None:
    there = builder.bitcast(builder.gep(out, [place]), HALVES.as_pointer())
    builder.store(rounded(builder, builder.fadd(sums, loaded(builder, bias, column))), there, align=2)


def _put(builder: ir.IRBuilder, sums: ir.Value, out: ir.Value, place: ir.Value, _: ir.Value) -> None:
    store(builder, sums, out, place)


_rounded_tile, _tile_as_it_is = _tile(_put_plus_bias), _tile(_put)


def _multiply(given: Any) -> None:
    """Multiply rows that lie plainly where there is a bias, else groups of them that were gathered."""
    work = carray(given, 1)[0]
    rows, columns, pairs = work.rows, work.columns, work.pairs
    bias = carray(pointer(work.bias), columns, np.float32)
    halves = carray(pointer(work.out), rows * columns, np.uint16)
    numbers = carray(pointer(work.out), rows * columns, np.float32)
    sums = carray(pointer(work.sums), (work.num_sums, rows), np.float32)
    totals = carray(pointer(work.totals), rows, np.float32)
    first, last = next_range(given)
    while first < last:
        for panel in range((columns + COLUMNS - 1) // COLUMNS):
            column, right = min(panel * COLUMNS, columns - COLUMNS), pointer(work.right + 4 * panel * pairs * COLUMNS)
            for group in range(first, last):
                row = min(group * ROWS, rows - ROWS)
                place = row * columns + column
                if work.bias:
                    left = pointer(work.left + 4 * row * pairs)
                    _rounded_tile(left, pairs, 1, right, pairs, halves, place, column, columns, bias)
                else:
                    left = pointer(work.left + 4 * group * ROWS * pairs)
                    _tile_as_it_is(left, 1, ROWS, right, pairs, numbers, place, column, columns)
        for row in range(first * ROWS, min(last * ROWS, rows) if work.sums else 0):
            totals[row] = sums[:, row].sum()
        first, last = next_range(given)


_SIZES = ("rows", "columns", "pairs")
_multiplying = Task(_multiply, "left", "right", "bias", "out", "sums", "totals", "num_sums", *_SIZES)
