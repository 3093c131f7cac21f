"""Rows of numbers written elsewhere, as they are or turned round, from and to float32 or bfloat16.

Numbers of whole vectors go by vectors; LLVM finds none in rows whose places it does not know beforehand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped
from llvmlite import ir
from numba import types

from dimscope.numerics.kernels.instructions import compiled, instruction
from dimscope.numerics.kernels.vectors import WIDTH, every_vector, got, put, read, store, write


@compiled
def copy_rows(
    x: Shaped[np.ndarray, "_rows _numbers"], out: Shaped[np.ndarray, "_rows _numbers"], num_rows: int, num_numbers: int
) -> None:
    """Write so many rows of so many numbers."""
    for row in range(num_rows):
        if num_numbers % WIDTH:
            for i in range(num_numbers):
                put(out[row], i, got(x[row], i))
        else:
            _copy_vectors(x[row], out[row], num_numbers)


@compiled
def copy_turned(x: Shaped[np.ndarray, "rows numbers"], out: Float32[np.ndarray, "_numbers columns"]) -> None:
    """Write the transpose; what stands in the columns beyond it, up to a whole vector, is not said."""
    num_rows, num_numbers = x.shape
    for row in range(0, num_rows, 1 if num_numbers % WIDTH else WIDTH):
        if num_numbers % WIDTH:
            for i in range(num_numbers):
                out[i, row] = got(x[row], i)
        else:
            for i in range(0, num_numbers, WIDTH):
                _turn(x[row, i:], x.strides[0] // x.itemsize, num_rows - row, out[i, row:], out.shape[1])


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


def _build_copy(builder: ir.IRBuilder, x: ir.Value, out: ir.Value, count: ir.Value) -> None:
    with every_vector(builder, count) as first:
        write(builder, read(builder, x, first), out, first)


def _build_turn(
    builder: ir.IRBuilder, x: ir.Value, apart: ir.Value, num_rows: ir.Value, out: ir.Value, columns: ir.Value
) -> None:
    """Build the transpose of sixteen rows that are so many numbers apart; the last one stands for those that lack."""
    number: Any = apart.type
    last = builder.sub(num_rows, number(1))
    rows = [builder.select(builder.icmp_signed("<", number(i), last), number(i), last) for i in range(WIDTH)]
    lines = turned(builder, [read(builder, x, builder.mul(row, apart)) for row in rows])
    for i, line in enumerate(lines):
        store(builder, line, out, builder.mul(number(i), columns))


_copy_vectors, _turn = instruction(types.void, _build_copy), instruction(types.void, _build_turn)
