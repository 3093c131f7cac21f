"""The Walsh–Hadamard transform as butterflies that stay in a processor's registers and caches, compiled by numba.

A butterfly gives the sum and the difference of two numbers; log₂ n levels of them, of numbers that lie 1, 2, 4, …
apart, are the transform (Fino & Algazi 1976, IEEE Trans. Comput. C-25(11):1142). We take several levels in one visit
and keep the order of all sums, so the bits are those of one level at a time, on every processor, in however many
threads.

What differs is the way through memory. Sixteen registers take all levels of a block of neighbors. Eight blocks are
joined as soon as they are done, while a cache holds them, and so are eight of what that gives, up to a piece that the
core's own caches hold. The pieces of a longer vector are joined sixteen at a time, a few columns after the other, in
one more walk over memory. Threads share a walk, not knowing of one another: each takes the next range that is left.

Which numbers meet in a register is told to LLVM in its own words: in loops over so many rows it finds no vectors.

The first transform on a machine compiles for some seconds; other processes find it on disk: beside this file, in the
user's cache, or where NUMBA_CACHE_DIR says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils

from dimscope.numerics.kernels.instructions import compiled, instruction, pointer
from dimscope.numerics.kernels.threads import Task, next_range

REGISTER = 64
"""Bytes of a register; processors with smaller ones take several for it."""
PIECE = 2**18
"""Numbers that stay in caches from their first level to their last."""
LONG = 2**17
"""Numbers that are worth a thread."""

Kernel = Callable[..., None]


def transform(
    x: Float[np.ndarray, "vectors n"], out: Float[np.ndarray, "vectors n"], num_threads: int
) -> Float[np.ndarray, "vectors n"]:
    """Write H x into out, which may be x, for each vector of float32 or float64 numbers; n is a power of two.

    Both lie in memory without gaps. So many of torch's threads share the work, fewer where there is little of it.

    >>> transform(np.array([[1.0, 0.0, 0.0, 2.0]]), np.empty((1, 4)), num_threads=1)
    array([[ 3., -1., -1.,  3.]])
    """
    num_threads = max(min(num_threads, x.size // LONG), 1)
    length = min(x.shape[1], PIECE)
    while 0 < x.size < length * num_threads:
        length //= 2
    _transforming(x.dtype)(num_threads, x.size // length, x=x, out=out, length=length)
    if length < x.shape[1]:
        _joining(x.dtype)(num_threads, length // REGISTER, out=out, length=length, size=x.size, n=x.shape[1])
    return out


def _levels(num_rows: int, *, within: bool = False) -> Kernel:
    """Build what takes the levels between the rows of a matrix, after those within each register where told.

    It is called with an array, where in it the first row begins and how far apart the rows are, the same of the array
    that takes what comes out, and the number of columns, which fill whole registers.
    """

    def build(
        builder: ir.IRBuilder,
        read: ir.Value,
        start: ir.Value,
        apart: ir.Value,
        written: ir.Value,
        start_there: ir.Value,
        apart_there: ir.Value,
        columns: ir.Value,
    ) -> None:
        number, index = read.type.pointee, columns.type
        register = ir.VectorType(number, REGISTER // (8 if number == ir.DoubleType() else 4))
        with cgutils.for_range_slice(builder, index(0), columns, index(register.count), index) as (column, _):
            places = _places(builder, read, builder.add(start, column), apart, num_rows, register)
            rows = [builder.load(place, align=1) for place in places]
            rows = _between(builder, [_within(builder, row) for row in rows] if within else rows)
            places = _places(builder, written, builder.add(start_there, column), apart_there, num_rows, register)
            for row, place in zip(rows, places, strict=True):
                builder.store(row, place, align=1)

    return instruction(types.void, build)


def _places(
    builder: ir.IRBuilder, data: ir.Value, start: ir.Value, apart: ir.Value, num_rows: int, register: ir.Type
) -> Iterator[ir.Value]:
    for row in range(num_rows):
        number = builder.gep(data, [builder.add(start, builder.mul(apart, apart.type(row)))])
        yield builder.bitcast(number, register.as_pointer())


def _between(builder: ir.IRBuilder, rows: Sequence[ir.Value]) -> list[ir.Value]:
    """Take the levels of rows 1, 2, 4, … apart."""
    rows, apart = list(rows), 1
    while apart < len(rows):
        for i in range(len(rows)):
            if not i & apart:
                a, b = rows[i], rows[i + apart]
                rows[i], rows[i + apart] = builder.fadd(a, b), builder.fsub(a, b)
        apart *= 2
    return rows


def _within(builder: ir.IRBuilder, row: ir.Value) -> ir.Value:
    """Take the levels of numbers 1, 2, 4, … apart in a register: each is added to its partner, or taken from it."""
    width, apart = row.type.count, 1
    while apart < width:
        partners = ir.VectorType(ir.IntType(32), width)([i ^ apart for i in range(width)])
        signs = row.type([-1.0 if i & apart else 1.0 for i in range(width)])
        row = builder.fadd(builder.shuffle_vector(row, row, partners), builder.fmul(row, signs))
        apart *= 2
    return row


_block = _levels(16, within=True)
_two, _four, _eight, _sixteen = map(_levels, (2, 4, 8, 16))


@cache
def _transforming(number: np.dtype) -> Task:
    """Give the walk over memory that transforms pieces, for this type of numbers."""

    def transform_pieces(given: Any) -> None:
        work = carray(given, 1)[0]
        x = carray(pointer(work.x), (work.num_pieces, work.length), number)
        out = carray(pointer(work.out), (work.num_pieces, work.length), number)
        first, last = next_range(given)
        while first < last:
            _transform_pieces(x[first:last], out[first:last])
            first, last = next_range(given)

    return Task(transform_pieces, "x", "out", "length")


@cache
def _joining(number: np.dtype) -> Task:
    """Give the walk that joins the pieces of longer vectors, registers of columns after registers of columns."""

    def join_pieces(given: Any) -> None:
        work = carray(given, 1)[0]
        vectors = carray(pointer(work.out), (work.size // work.n, work.n), number)
        first, last = next_range(given)
        while first < last:
            _join_pieces(vectors, work.length, first * REGISTER, last * REGISTER)
            first, last = next_range(given)

    return Task(join_pieces, "out", "length", "size", "n")


@compiled
def _transform_pieces(pieces: Float[np.ndarray, "pieces n"], out: Float[np.ndarray, "pieces n"]) -> None:
    width = REGISTER // pieces.itemsize
    for i in range(len(pieces)):
        if pieces.shape[1] < 16 * width:
            _transform_few(pieces[i], out[i])
        else:
            _transform_piece(pieces[i], out[i], width)


@compiled
def _transform_few(x: Float[np.ndarray, " n"], out: Float[np.ndarray, " n"]) -> None:
    """Go level by level, for numbers that do not fill the registers."""
    out[:] = x
    apart = 1
    while apart < x.size:
        for start in range(0, x.size, 2 * apart):
            for i in range(start, start + apart):
                out[i], out[i + apart] = out[i] + out[i + apart], out[i] - out[i + apart]
        apart *= 2


@compiled
def _transform_piece(x: Float[np.ndarray, " n"], out: Float[np.ndarray, " n"], width: int) -> None:
    size = block = 16 * width
    for end in range(block, x.size + 1, block):
        _block(x, end - block, width, out, end - block, width, width)
        size = block
        while end % (8 * size) == 0:
            _join(8, out, end - 8 * size, size, size)
            size *= 8
    _join(x.size // size, out, 0, size, size)


@compiled
def _join_pieces(vectors: Float[np.ndarray, "vectors n"], length: int, first: int, last: int) -> None:
    """Take the levels between pieces of such a length, for some of their columns."""
    n = vectors.shape[1]
    for x in vectors:
        size = length
        while size < n:
            num_rows = min(n // size, 16)
            for start in range(0, n, num_rows * size):
                for piece in range(start, start + size, length):
                    _join(num_rows, x, piece + first, size, last - first)
            size *= num_rows


@compiled
def _join(num_rows: int, x: Float[np.ndarray, " n"], start: int, apart: int, num_columns: int) -> None:
    """Take the levels between rows, in place; a single row has none."""
    if num_rows == 16:
        _sixteen(x, start, apart, x, start, apart, num_columns)
    elif num_rows == 8:
        _eight(x, start, apart, x, start, apart, num_columns)
    elif num_rows == 4:
        _four(x, start, apart, x, start, apart, num_columns)
    elif num_rows == 2:
        _two(x, start, apart, x, start, apart, num_columns)
