"""Products of small matrices, whose sums are in registers and whose factors in a core's own cache.

Torch's products of many small matrices at once want every one in memory without gaps, and make a round of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32
from llvmlite import ir
from numba import types
from numba.core import cgutils

from dimscope.numerics.kernels.instructions import compiled, everywhere, instruction
from dimscope.numerics.kernels.vectors import VECTOR, WIDTH, added_product, loaded, store, variable

_ROWS = 4
"""Rows whose sums are in registers at once."""


def _tile(num_vectors: int) -> Any:
    """Build what adds to so many vectors in each of four rows of c."""

    def build(
        builder: ir.IRBuilder,
        a: ir.Value,
        start: ir.Value,
        row: ir.Value,
        column: ir.Value,
        b: ir.Value,
        start_b: ir.Value,
        c: ir.Value,
        start_c: ir.Value,
        numbers: ir.Value,
        depth: ir.Value,
    ) -> None:
        def at(start: ir.Value, number: int | ir.Value, apart: ir.Value, vector: int = 0) -> ir.Value:
            number = depth.type(number) if isinstance(number, int) else number
            return builder.add(builder.add(start, builder.mul(number, apart)), depth.type(vector * WIDTH))

        places = [(i, j, at(start_c, i, numbers, j)) for i in range(_ROWS) for j in range(num_vectors)]
        sums = [variable(builder, loaded(builder, c, there)) for *_, there in places]
        with cgutils.for_range(builder, depth) as loop:
            right = [loaded(builder, b, at(start_b, loop.index, numbers, j)) for j in range(num_vectors)]
            heads = [at(at(start, i, row), loop.index, column) for i in range(_ROWS)]
            left = [everywhere(builder, builder.load(builder.gep(a, [head])), VECTOR) for head in heads]
            for (i, j, _), value in zip(places, sums, strict=True):
                builder.store(added_product(builder, builder.load(value), left[i], right[j]), value)
        for (*_, there), value in zip(places, sums, strict=True):
            store(builder, builder.load(value), c, there)

    return instruction(types.void, build)


_one, _two = _tile(1), _tile(2)


@compiled
def room_for(num_rows: int, num_numbers: int) -> Float32[np.ndarray, "rows numbers"]:
    """Give zeros for so many rows, or a few more, of so many numbers in whole vectors."""
    return np.zeros((-(-num_rows // _ROWS) * _ROWS, -(-num_numbers // WIDTH) * WIDTH), np.float32)


@compiled
def part_of(room: Float32[np.ndarray, "_ _"], num_rows: int, num_numbers: int) -> Float32[np.ndarray, "rows numbers"]:
    """Give the beginning of a larger room as one for so many rows; what stands in it is not said."""
    rows, numbers = -(-num_rows // _ROWS) * _ROWS, -(-num_numbers // WIDTH) * WIDTH
    return room.reshape(room.size)[: rows * numbers].reshape((rows, numbers))


@compiled
def add_product(
    a: Float32[np.ndarray, "_rows _columns"],
    row: int,
    column: int,
    b: Float32[np.ndarray, "_depth numbers"],
    c: Float32[np.ndarray, "_rows numbers"],
    num_rows: int,
    depth: int,
) -> None:
    """Add a product of matrices to c: entry (i, k) of the first is number i · `row` + k · `column` of a.

    Rows are taken by fours: what a few more than `num_rows` of c get is not said.
    """
    numbers = c.shape[1]
    for i in range(0, num_rows, _ROWS):
        for j in range(0, numbers - WIDTH, 2 * WIDTH):
            _two(a, i * row, row, column, b, j, c, i * numbers + j, numbers, depth)
        if numbers % (2 * WIDTH):
            _one(a, i * row, row, column, b, numbers - WIDTH, c, (i + 1) * numbers - WIDTH, numbers, depth)
