"""Compiling loops with numba, and telling LLVM in its own words what Python has none for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_LINE = 64
"""Bytes that a processor's caches hold and fetch together."""
_TO_READ_OFTEN = (0, 3, 1)
"""LLVM's numbers for what is fetched: to be read, often, and no code."""


def compiled(kernel: Callable[..., Any], compile: Callable[..., Any] = njit, *signature: Any) -> Any:
    """Compile, and keep it on disk unless numba finds no folder there that it may write to."""
    try:
        return compile(*signature, cache=True)(kernel)
    except RuntimeError:
        return compile(*signature)(kernel)


def instruction(gives: types.Type, build: Callable[..., ir.Value | None]) -> Any:
    """Make a function, for compiled code, of what `build` makes of LLVM's values.

    In the place of an array it gets where the first number stands.
    """

    @intrinsic
    def take(_: Any, *given: Any) -> Any:
        kinds = types.StarArgTuple.from_types(tuple(map(types.unliteral, given)))

        def lowered(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
            values = cgutils.unpack_tuple(builder, values[0], len(kinds))
            places = [
                context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
                for kind, value in zip(kinds, values, strict=True)
            ]
            built = build(builder, *places)
            return context.get_dummy_value() if built is None else built

        return gives(kinds), lowered

    return take


def everywhere(builder: ir.IRBuilder, value: ir.Value, vector: ir.VectorType) -> ir.Value:
    """Give a vector of one value."""
    first = builder.insert_element(vector(ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, vector(ir.Undefined), ir.VectorType(ir.IntType(32), vector.count)(None))


def soon_needed(builder: ir.IRBuilder, place: ir.Value, num_bytes: int) -> None:
    """Have the processor fetch, into its caches, the lines that begin at a place."""
    byte, told = ir.IntType(8).as_pointer(), [ir.IntType(32)] * 3
    fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, *told]))
    start, how = builder.bitcast(place, byte), [kind(number) for kind, number in zip(told, _TO_READ_OFTEN, strict=True)]
    for line in range(0, num_bytes, _LINE):
        builder.call(fetch, [builder.gep(start, [ir.IntType(64)(line)]), *how])


pointer = instruction(types.voidptr, lambda builder, address: builder.inttoptr(address, cgutils.voidptr_t))
"""Compiled code calls it with an address."""
