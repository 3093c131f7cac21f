"""Matrices of bfloat16 numbers laid out in pairs, for processors that multiply and add pairs (AVX-512 BF16).

A pair is two numbers in 32 bits which a product multiplies by two others and adds up in one instruction; in a row that
lies plainly every two neighbours are one. A panel is some columns of a factor, of one pair of its rows after the other.
Where the width of panels does not divide the columns, the last panel begins sooner and has some columns again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import BFloat16, Float32, Int32
from llvmlite import binding, ir
from numba import carray, types
from numba.core import cgutils, config
from torch import Tensor

from dimscope.numerics.kernels.copies import turned
from dimscope.numerics.kernels.instructions import compiled, instruction, pointer
from dimscope.numerics.kernels.threads import Task, next_range
from dimscope.numerics.kernels.vectors import (
    HALF,
    HALVES,
    VECTOR,
    WIDTH,
    every_vector,
    loaded,
    read,
    rounded,
    store,
    variable,
)

COLUMNS, ROWS = 64, 6
"""Width of the panels of a right factor, and of a left one that is turned."""
PAIR = ir.IntType(32)
PAIRS = ir.VectorType(PAIR, WIDTH)
_ROWS_AT_ONCE = 32
"""Rows of a piece of work, an even number."""


@cache
def adds_pairs() -> bool:
    """Tell whether this processor has the instruction, and not one with which oneDNN is faster (AMX)."""
    features = binding.get_host_cpu_features()
    told_otherwise = any(vars(config).get(name) for name in ("CPU_NAME", "CPU_FEATURES"))
    return bool(features.get("avx512bf16") and not features.get("amx-bf16") and not told_otherwise)


@dataclass(frozen=True)
class Panels:
    """A factor as the processor reads it."""

    pairs: Int32[Tensor, "panels pairs width"]
    columns: int


def laid_out(*weights: Float32[Tensor, "_outputs dims"], num_threads: int) -> tuple[Panels, Panels]:
    """Round one weight or several, each below the last, and lay them out for values · weightᵀ and gradient · weight.

    All sizes are even and at least 64.
    """
    each, dims = weights[0].shape
    if each % COLUMNS or any(len(weight) != each for weight in weights):
        weights = (torch.cat(weights),)
        each = len(weights[0])
    weights = tuple(weight.contiguous() for weight in weights)
    outputs = each * len(weights)
    there, back = room_for(dims, outputs), room_for(outputs, dims)
    told = {"there": there.pairs, "back": back.pairs}
    places = np.array([weight.data_ptr() for weight in weights])
    _laying_out(num_threads, len(there.pairs), **told, places=places, outputs=outputs, each=each, dims=dims)
    return there, back


def room_for(depth: int, columns: int, width: int = COLUMNS) -> Panels:
    """Give panels of which nothing is written."""
    return Panels(torch.empty(-(-columns // width), -(-depth // 2), width, dtype=torch.int32), columns)


def gathered(
    left: BFloat16[Tensor, "depth rows"], right: BFloat16[Tensor, "depth columns"], num_threads: int
) -> tuple[Panels, Panels, Float32[Tensor, "pieces rows"]]:
    """Lay both factors of leftᵀ · right out, the left one in panels of `ROWS`; and give sums of its columns, in pieces.

    Each has 16 columns at least and as many as its panels; an odd row has a partner of zeros.
    """
    (depth, rows), columns = left.shape, right.shape[1]
    groups, panels, pieces = room_for(depth, rows, ROWS), room_for(depth, columns), -(-depth // _ROWS_AT_ONCE)
    sums = torch.empty(pieces, rows)
    told = {"left": left, "right": right, "groups": groups.pairs, "panels": panels.pairs, "sums": sums}
    _gathering(num_threads, pieces, **told, depth=depth, rows=rows, columns=columns)
    return groups, panels, sums


def _vector_at(builder: ir.IRBuilder, kind: ir.VectorType, data: ir.Value, index: ir.Value) -> ir.Value:
    return builder.load(builder.bitcast(builder.gep(data, [index]), kind.as_pointer()), align=kind.element.width // 8)


def _pair_up(width: int) -> Any:
    """Build what pairs so many numbers of two rows."""
    halves, pairs = ir.VectorType(HALF, width), ir.VectorType(PAIR, width)

    def build(
        builder: ir.IRBuilder, upper: ir.Value, lower: ir.Value, start: ir.Value, out: ir.Value, place: ir.Value
    ) -> None:
        first, second = (builder.zext(_vector_at(builder, halves, row, start), pairs) for row in (upper, lower))
        both = builder.or_(first, builder.shl(second, pairs([16] * width)))
        builder.store(both, builder.bitcast(builder.gep(out, [place]), pairs.as_pointer()), align=4)

    return instruction(types.void, build)


def _sum_rows(
    builder: ir.IRBuilder, rows: ir.Value, apart: ir.Value, count: ir.Value, out: ir.Value, place: ir.Value
) -> None:
    """Build the sums of 16 columns of so many rows."""
    sums, row = variable(builder, VECTOR([0.0] * WIDTH)), variable(builder, rows)
    with cgutils.for_range(builder, count):
        numbers = read(builder, builder.load(row), count.type(0))
        builder.store(builder.fadd(builder.load(sums), numbers), sums)
        builder.store(builder.gep(builder.load(row), [apart]), row)
    store(builder, builder.load(sums), out, place)


def _turn(builder: ir.IRBuilder, block: ir.Value, apart: ir.Value, out: ir.Value, place: ir.Value) -> None:
    """Build the transpose of 16 by 16 pairs whose rows are so many apart; it becomes 16 columns of a panel."""
    lines = [_vector_at(builder, PAIRS, block, builder.mul(apart.type(i), apart)) for i in range(WIDTH)]
    for i, line in enumerate(turned(builder, lines)):
        there = builder.gep(out, [builder.add(place, apart.type(i * COLUMNS))])
        builder.store(line, builder.bitcast(there, PAIRS.as_pointer()), align=4)


def _round(builder: ir.IRBuilder, numbers: ir.Value, out: ir.Value, count: ir.Value) -> None:
    """Build the rounding of so many numbers, a multiple of 16."""
    with every_vector(builder, count) as first:
        there = builder.bitcast(builder.gep(out, [first]), HALVES.as_pointer())
        builder.store(rounded(builder, loaded(builder, numbers, first)), there, align=2)


_paired_rows, _paired_columns = _pair_up(ROWS), _pair_up(COLUMNS)
_summed, _turned, _rounded = (instruction(types.void, build) for build in (_sum_rows, _turn, _round))


def _gather(given: Any) -> None:
    """Lay out some rows of both factors after the other, and add up what stands in those of the left one."""
    work = carray(given, 1)[0]
    depth, rows, columns = work.depth, work.rows, work.columns
    left = carray(pointer(work.left), (depth, rows), np.uint16)
    right = carray(pointer(work.right), (depth, columns), np.uint16)
    sums = carray(pointer(work.sums), work.num_pieces * rows, np.float32)
    first, last = next_range(given)
    while first < last:
        for piece in range(first, last):
            top, bottom = piece * _ROWS_AT_ONCE, min((piece + 1) * _ROWS_AT_ONCE, depth)
            _lay_out_rows(left, top, bottom, pointer(work.groups), ROWS)
            _lay_out_rows(right, top, bottom, pointer(work.panels), COLUMNS)
            for start in range(0, rows, WIDTH):
                column = min(start, rows - WIDTH)
                _summed(left[top, column:], rows, bottom - top, sums, piece * rows + column)
        first, last = next_range(given)


@compiled
def _lay_out_rows(matrix: Any, top: int, bottom: int, place: Any, width: int) -> None:
    """Lay rows, the first of them an even one, into panels of this width."""
    depth, columns = matrix.shape
    num_panels, num_pairs = (columns + width - 1) // width, (depth + 1) // 2
    panels = carray(place, num_panels * num_pairs * width, np.uint32)
    nothing = np.zeros(0 if depth % 2 == 0 else columns, np.uint16)
    for row in range(top, bottom, 2):
        upper, lower = matrix[row], matrix[row + 1] if row + 1 < depth else nothing
        for panel in range(num_panels):
            column, place_of_pair = min(panel * width, columns - width), (panel * num_pairs + row // 2) * width
            if width == ROWS:
                _paired_rows(upper, lower, column, panels, place_of_pair)
            else:
                _paired_columns(upper, lower, column, panels, place_of_pair)


_gathering = Task(_gather, "left", "right", "groups", "panels", "sums", "depth", "rows", "columns")


def _lay_out(given: Any) -> None:
    """Lay out 64 rows of the weights after the other: as a panel, and as pairs of rows of all panels."""
    work = carray(given, 1)[0]
    outputs, dims = work.outputs, work.dims
    pairs, num_panels = dims // 2, (dims + COLUMNS - 1) // COLUMNS
    places = carray(pointer(work.places), outputs // work.each, np.intp)
    there = carray(pointer(work.there), work.num_pieces * pairs * COLUMNS, np.uint32)
    back = carray(pointer(work.back), num_panels * outputs // 2 * COLUMNS, np.uint32)
    rows = np.empty((COLUMNS, dims), np.uint16)
    in_pairs = rows.view(np.uint32)
    first, last = next_range(given)
    while first < last:
        for piece in range(first, last):
            start = min(piece * COLUMNS, outputs - COLUMNS)
            weight = carray(pointer(places[start // work.each]), (work.each, dims), np.float32)
            _rounded(weight[start % work.each], rows, COLUMNS * dims)
            for i in range(0, COLUMNS, WIDTH):
                for j in range(0, pairs, WIDTH):
                    pair = min(j, pairs - WIDTH)
                    _turned(in_pairs[i, pair:], pairs, there, (piece * pairs + pair) * COLUMNS + i)
            for panel in range(num_panels):
                column = min(panel * COLUMNS, dims - COLUMNS)
                for i in range(0, COLUMNS, 2):
                    place = (panel * outputs + start + i) // 2 * COLUMNS
                    _paired_columns(rows[i], rows[i + 1], column, back, place)
        first, last = next_range(given)


_laying_out = Task(_lay_out, "places", "there", "back", "outputs", "each", "dims")
