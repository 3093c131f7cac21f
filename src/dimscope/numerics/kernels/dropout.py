"""The factors of dropout, drawn 32 at a time in a processor's registers, in torch's threads.

Word i of a draw is that of splitmix64 (Steele, Lea & Flood 2014, OOPSLA, figure 16) for seed + i · γ: it depends on its
place alone, so any number of threads draws the same. Each word gives four numbers of 16 bits.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Shaped
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from torch import Tensor

from dimscope.numerics.kernels.instructions import everywhere, instruction, pointer
from dimscope.numerics.kernels.threads import Task, next_range

AT_ONCE = 32
"""Factors of one visit, of the eight words that a register of 64 bytes holds."""
STEPS = 2**16
"""The fraction that is dropped is a multiple of one part in so many."""
LONG = 2**15
"""Factors that are worth a thread."""

_GAMMA, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORDS = ir.VectorType(ir.IntType(64), 8)
_DRAWN = ir.VectorType(ir.IntType(16), AT_ONCE)


def draw_factors(
    out: Shaped[Tensor | np.ndarray, " factors"], seed: int, num_dropped: int, factor: int, num_threads: int
) -> None:
    """Fill `out`, numbers of two or four bytes, with `factor` or, in `num_dropped` of 2¹⁶ places on average, 0.

    Factors are the bits of whatever number is meant; `out` has a multiple of 32 of them.

    >>> out = np.empty(64, np.uint16)
    >>> draw_factors(out, seed=1, num_dropped=STEPS // 2, factor=3, num_threads=1)
    >>> np.unique(out).tolist()
    [0, 3]
    """
    told = {"out": out, "seed": seed, "num_dropped": num_dropped, "factor": factor}
    _drawing(out.itemsize)(min(num_threads, len(out) // LONG), len(out) // AT_ONCE, **told)


@cache
def _drawing(num_bytes: int) -> Task:
    """Give the task that draws factors of so many bytes."""
    kind = np.dtype(f"u{num_bytes}")

    def draw(given: Any) -> None:
        work = carray(given, 1)[0]
        out = carray(pointer(work.out), work.num_pieces * AT_ONCE, kind)
        first, last = next_range(given)
        while first < last:
            _draw(out, first, last, work.seed, work.num_dropped, work.factor)
            first, last = next_range(given)

    return Task(draw, "out", "seed", "num_dropped", "factor")


def _visits(
    builder: ir.IRBuilder,
    data: ir.Value,
    first: ir.Value,
    last: ir.Value,
    seed: ir.Value,
    num_dropped: ir.Value,
    factor: ir.Value,
) -> None:
    """Draw the factors of a range of visits into an array."""
    factors = ir.VectorType(data.type.pointee, AT_ONCE)
    num_dropped = everywhere(builder, builder.trunc(num_dropped, _DRAWN.element), _DRAWN)
    factor = everywhere(builder, builder.trunc(factor, factors.element), factors)
    with cgutils.for_range_slice(builder, first, last, last.type(1), last.type) as (visit, _):
        drawn = builder.bitcast(_words(builder, seed, visit), _DRAWN)
        is_kept = builder.icmp_unsigned(">=", drawn, num_dropped)
        chosen = builder.select(is_kept, factor, factors([0] * AT_ONCE))
        there = builder.gep(data, [builder.mul(visit, visit.type(AT_ONCE))])
        builder.store(chosen, builder.bitcast(there, factors.as_pointer()), align=1)


_draw = instruction(types.void, _visits)


def _words(builder: ir.IRBuilder, seed: ir.Value, visit: ir.Value) -> ir.Value:
    """Give the words of a visit: splitmix64's of their places."""
    first = everywhere(builder, builder.mul(visit, visit.type(_WORDS.count)), _WORDS)
    places = builder.add(first, _WORDS(list(range(_WORDS.count))))
    words = builder.add(everywhere(builder, seed, _WORDS), builder.mul(places, _all(_GAMMA)))
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        words = builder.mul(builder.xor(words, builder.lshr(words, _all(shift))), _all(factor))
    return builder.xor(words, builder.lshr(words, _all(31)))


def _all(word: int) -> ir.Constant:
    return _WORDS([word] * _WORDS.count)
