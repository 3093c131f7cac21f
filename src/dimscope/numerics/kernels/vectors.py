"""Vectors of sixteen float32 numbers in compiled code, for loops in which LLVM finds none; and bfloat16 numbers.

A bfloat16 is the upper half of the bits of a float32; numpy, which has none, gets its bits as uint16. What is named
here is written once for both kinds of numbers: `got` reads either, `put` writes either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils

from dimscope.numerics.kernels.instructions import everywhere, instruction

WIDTH = 16
"""Numbers of a vector; processors with smaller registers take several for it."""
VECTOR = ir.VectorType(ir.FloatType(), WIDTH)
KINDS = {torch.float32: np.dtype(np.float32), torch.bfloat16: np.dtype(np.uint16)}
"""As what numpy sees the numbers of a tensor."""

HALF, _WHOLE = ir.IntType(16), ir.IntType(32)
HALVES, _WHOLES = ir.VectorType(HALF, WIDTH), ir.VectorType(_WHOLE, WIDTH)
_NAN = 0x7FC0
_LEAST = -87.0
"""Powers of e below this one's count as 0."""
_TERMS = 8
"""Of the series of the exponential function: up to half of log 2 the next term is 5e-9."""


def loaded(builder: ir.IRBuilder, data: ir.Value, index: ir.Value) -> ir.Value:
    """Read the vector that begins at a number."""
    return builder.load(_place(builder, data, index), align=4)


def store(builder: ir.IRBuilder, vector: ir.Value, data: ir.Value, index: ir.Value) -> None:
    """Write a vector so that it begins at a number."""
    builder.store(vector, _place(builder, data, index), align=4)


def _place(builder: ir.IRBuilder, data: ir.Value, index: ir.Value) -> ir.Value:
    return builder.bitcast(builder.gep(data, [index]), VECTOR.as_pointer())


@contextmanager
def every_vector(builder: ir.IRBuilder, count: ir.Value) -> Iterator[ir.Value]:
    """Repeat what is built within for the first number of every vector of so many numbers."""
    index = count.type
    with cgutils.for_range_slice(builder, index(0), count, index(WIDTH), index) as (first, _):
        yield first


def variable(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Give a place, which will be a register, for a value that changes in a loop."""
    return cgutils.alloca_once_value(builder, value)


def added_product(builder: ir.IRBuilder, to: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """Give to + a · b, rounded once where the processor can."""
    return builder.fadd(to, builder.fmul(a, b, flags=("contract",)), flags=("contract",))


def total(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """Give the sum of a vector's numbers."""
    return _folded(builder, vector, builder.fadd)


def largest(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """Give the largest of a vector's numbers."""
    return _folded(builder, vector, lambda a, b: larger(builder, a, b))


def larger(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """Give, place by place, the larger number."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def smaller(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """Give, place by place, the smaller number."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def _folded(builder: ir.IRBuilder, vector: ir.Value, joined: Callable[[ir.Value, ir.Value], ir.Value]) -> ir.Value:
    apart = WIDTH // 2
    while apart:
        partners = _WHOLES([(i + apart) % WIDTH for i in range(WIDTH)])
        vector = joined(vector, builder.shuffle_vector(vector, vector, partners))
        apart //= 2
    return builder.extract_element(vector, _WHOLE(0))


def exponential(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Give e to the power of each number, none of which is above 0: 2ⁿ times the series at what remains."""
    is_none = builder.fcmp_ordered("<", x, all_of(_LEAST))
    x = builder.select(is_none, all_of(_LEAST), x)
    # A conversion cuts towards 0: what is below 0 is rounded.
    n = builder.fptosi(builder.fsub(builder.fmul(x, all_of(1 / math.log(2))), all_of(0.5)), _WHOLES)
    rest = added_product(builder, x, builder.sitofp(n, VECTOR), all_of(-math.log(2)))
    series = all_of(1 / math.factorial(_TERMS - 1))
    for power in reversed(range(_TERMS - 1)):
        series = added_product(builder, all_of(1 / math.factorial(power)), series, rest)
    shift, bias = _WHOLES([23] * WIDTH), _WHOLES([127] * WIDTH)
    scale = builder.bitcast(builder.shl(builder.add(n, bias), shift), VECTOR)
    return builder.select(is_none, all_of(0.0), builder.fmul(series, scale))


def all_of(number: float) -> ir.Constant:
    """Give a vector of one number that is known beforehand."""
    return VECTOR([number] * WIDTH)


def are_before(builder: ir.IRBuilder, count: ir.Value) -> ir.Value:
    """Tell which of a vector's numbers are among the first so many."""
    places = _WHOLES(list(range(WIDTH)))
    return builder.icmp_signed("<", places, everywhere(builder, builder.trunc(count, _WHOLE), _WHOLES))


def widened(builder: ir.IRBuilder, halves: ir.Value) -> ir.Value:
    """Give what a vector of bfloat16 numbers is in float32."""
    return builder.bitcast(builder.shl(builder.zext(halves, _WHOLES), _WHOLES([16] * WIDTH)), VECTOR)


def rounded(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """Give the nearest bfloat16 numbers, by the instruction of processors that have it (AVX-512 BF16)."""
    kind = ir.FunctionType(HALVES, [VECTOR])
    round_all = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.cvtneps2bf16.512")
    return builder.call(round_all, [vector])


def rounded_pair(builder: ir.IRBuilder, first: ir.Value, second: ir.Value) -> ir.Value:
    """Give the nearest bfloat16 numbers of two vectors as one, by the same processors' instruction for that."""
    kind = ir.FunctionType(ir.VectorType(HALF, 2 * WIDTH), [VECTOR, VECTOR])
    round_all = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.cvtne2ps2bf16.512")
    return builder.call(round_all, [second, first])


def read(builder: ir.IRBuilder, data: ir.Value, index: ir.Value) -> ir.Value:
    """Read the vector that begins at a number, of float32 or bfloat16, as float32."""
    if data.type.pointee != HALF:
        return loaded(builder, data, index)
    return widened(builder, builder.load(_halves_at(builder, data, index), align=2))


def write(builder: ir.IRBuilder, vector: ir.Value, data: ir.Value, index: ir.Value) -> None:
    """Write a vector of float32, as such or as the nearest bfloat16, so that it begins at a number."""
    if data.type.pointee != HALF:
        store(builder, vector, data, index)
    else:
        builder.store(_nearest(builder, vector), _halves_at(builder, data, index), align=2)


def _halves_at(builder: ir.IRBuilder, data: ir.Value, index: ir.Value) -> ir.Value:
    return builder.bitcast(builder.gep(data, [index]), HALVES.as_pointer())


def _got(builder: ir.IRBuilder, data: ir.Value, index: ir.Value) -> ir.Value:
    given = builder.load(builder.gep(data, [index]))
    if given.type == ir.FloatType():
        return given
    return builder.bitcast(builder.shl(builder.zext(given, _WHOLE), _WHOLE(16)), ir.FloatType())


def _put(builder: ir.IRBuilder, data: ir.Value, index: ir.Value, number: ir.Value) -> None:
    is_half = data.type.pointee == HALF
    builder.store(_nearest(builder, number) if is_half else number, builder.gep(data, [index]))


def _nearest(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """Give the nearest bfloat16 to a number or to each of a vector, on any processor."""
    whole, half = (_WHOLES, HALVES) if number.type == VECTOR else (_WHOLE, HALF)

    def same(kind: ir.Type, value: int) -> ir.Constant:
        return kind([value] * WIDTH) if number.type == VECTOR else kind(value)

    bits, upper = builder.bitcast(number, whole), same(whole, 16)
    is_odd = builder.and_(builder.lshr(bits, upper), same(whole, 1))
    # Half of the last place less a little: what lies in the middle goes up where the last bit is odd.
    carried = builder.add(builder.add(bits, same(whole, 0x7FFF)), is_odd)
    nearest = builder.trunc(builder.lshr(carried, upper), half)
    return builder.select(builder.fcmp_unordered("uno", number, number), same(half, _NAN), nearest)


got = instruction(types.float32, _got)
"""Reads a number from an array of float32 or bfloat16 at an index."""
put = instruction(types.void, _put)
"""Writes a float32 into such an array at an index; the nearest bfloat16, and of two equally near the even one."""
