"""Rows of numbers written elsewhere, as they are or turned round, from and to float32 or bfloat16.

Numbers of whole vectors go by vectors; LLVM finds none in rows whose places it does not know beforehand.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Shaped
from llvmlite import ir
from numba import types
from numba.core import cgutils

from dimscope.numerics.kernels.instructions import compiled, instruction
from dimscope.numerics.kernels.vectors import WIDTH, every_vector, got, put, read, store, write


@compiled
def copy_rows(
    x: Shaped[np.ndarray, "_rows _numbers"], out: Shaped[np.ndarray, "_rows _numbers"], num_rows: int, num_numbers: int
) -> None:
    """Write so many rows of so many numbers."""
    if num_numbers % WIDTH:
        for row in range(num_rows):
            for i in range(num_numbers):
                put(out[row], i, got(x[row], i))
    else:
        _copy_vectors(x, x.strides[0] // x.itemsize, out, out.strides[0] // out.itemsize, num_rows, num_numbers)


@compiled
def copy_turned(x: Shaped[np.ndarray, "rows numbers"], out: Float32[np.ndarray, "_numbers columns"]) -> None:
    """Write the transpose; what stands in the columns beyond it, up to a whole vector, is not said."""
    num_rows, num_numbers = x.shape
    if num_numbers % WIDTH:
        for row in range(num_rows):
            for i in range(num_numbers):
                out[i, row] = got(x[row], i)
    else:
        _turn(x, x.strides[0] // x.itemsize, out, out.shape[1], num_rows, num_numbers)


def turned(builder: ir.IRBuilder, lines: list[ir.Value]) -> list[ir.Value]:
    """Give the columns of sixteen vectors of sixteen, of numbers of 32 bits."""
    places = ir.VectorType(ir.IntType(32), WIDTH)
    for distance in (1, 2, 4, 8):
        # Of two lines at this distance one gets what is at even places of both, by as many, the other what is at odd.
        even = places([i + WIDTH - distance if i & distance else i for i in range(WIDTH)])
        odd = places([i + WIDTH if i & distance else i + distance for i in range(WIDTH)])
        lines = [
            builder.shuffle_vector(lines[i & ~distance], lines[i | distance], odd if i & distance else even)
            for i in range(WIDTH)
        ]
    return lines


class _Told(NamedTuple):
    """What is told of a copy: how many numbers rows are apart, here and there, and how many of how many there are."""

    x: ir.Value
    apart: ir.Value
    out: ir.Value
    apart_there: ir.Value
    num_rows: ir.Value
    num_numbers: ir.Value


def _build_copy(builder: ir.IRBuilder, *given: ir.Value) -> None:
    told = _Told(*given)
    with cgutils.for_range(builder, told.num_rows) as row, every_vector(builder, told.num_numbers) as first:
        here, there = (builder.add(builder.mul(row.index, each), first) for each in (told.apart, told.apart_there))
        write(builder, read(builder, told.x, here), told.out, there)


def _build_turn(builder: ir.IRBuilder, *given: ir.Value) -> None:
    """Build what turns sixteen rows of sixteen numbers after the other; the last row stands for those that lack."""
    told, number = _Told(*given), given[-1].type
    last = builder.sub(told.num_rows, number(1))
    with every_vector(builder, told.num_rows) as top, every_vector(builder, told.num_numbers) as first:
        rows = [builder.add(top, number(i)) for i in range(WIDTH)]
        rows = [builder.select(builder.icmp_signed("<", row, last), row, last) for row in rows]
        places = [builder.add(builder.mul(row, told.apart), first) for row in rows]
        for i, line in enumerate(turned(builder, [read(builder, told.x, place) for place in places])):
            column = builder.mul(builder.add(first, number(i)), told.apart_there)
            store(builder, line, told.out, builder.add(column, top))


_copy_vectors, _turn = instruction(types.void, _build_copy), instruction(types.void, _build_turn)
