"""Compiled work in the threads that torch has: those of another pool would wait for them.

GNU's OpenMP keeps its threads busy for some milliseconds after torch's last operation, so that the next one starts at
once. On a machine with as many cores as threads, any other thread shares its core with one that waits.

A task is a function that numba's `cfunc` compiles. Every thread calls it with the address of the same record of whole
numbers (`told`), and takes shares of the work, not knowing of the others, until none is left: who is kept from a core
takes fewer.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import cfunc, from_dtype, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_PROCESS = os.getpid()


def compiled(kernel: Callable[..., Any], compile: Callable[..., Any] = njit, *signature: Any) -> Any:
    """Compile, and keep it on disk unless numba finds no folder there that it may write to."""
    try:
        return compile(*signature, cache=True)(kernel)
    except RuntimeError:
        return compile(*signature)(kernel)


def task(kernel: Callable[[Any], None], record: np.dtype) -> Any:
    """Compile what every thread calls with the address of such a record."""
    return compiled(kernel, cfunc, types.void(types.CPointer(from_dtype(record))))


def record(*names: str) -> np.dtype:
    """Give the type of what a task is told: `next_share`, `num_shares`, and whole numbers of these names."""
    return np.dtype([(name, np.intp) for name in ("next_share", "num_shares", *names)])


def told(kind: np.dtype, num_shares: int, /, **numbers: int) -> np.ndarray:
    """Give a record for work in so many shares, of which none is taken yet."""
    numbers = {"next_share": 0, "num_shares": num_shares, **numbers}
    return np.array([tuple(numbers[name] for name in kind.names or ())], kind)


def in_torch_threads(task: Any, told: np.ndarray, num_threads: int) -> None:
    """Call a task with the address of a record in so many threads at once.

    There may be fewer: only this one where torch is not linked with OpenMP, and in a fork, which has none of its
    parent's threads.
    """
    parallel = _openmp() if num_threads > 1 and os.getpid() == _PROCESS else None
    if parallel:
        parallel(task.address, told.ctypes.data, num_threads, 0)
    else:
        task.ctypes(told.ctypes.data_as(ctypes.c_void_p))


@cache
def _openmp() -> Callable[[int, int, int, int], None] | None:
    """Give the entry of the OpenMP that torch is linked with; LLVM's bears GNU's name for it too."""
    parallel = getattr(ctypes.CDLL(torch._C.__file__), "GOMP_parallel", None)
    if parallel:
        parallel.argtypes, parallel.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return parallel


def _instruction(gives: types.Type, build: Callable[[ir.IRBuilder, ir.Value], ir.Value]) -> Any:
    """Make a function of an instruction that Python has no word for."""

    @intrinsic
    def take(_: Any, given: Any) -> Any:
        return gives(given), lambda context, builder, _, values: build(builder, values[0])

    return take


pointer = _instruction(types.voidptr, lambda builder, address: builder.inttoptr(address, cgutils.voidptr_t))
"""Compiled code calls it with an address."""
next_share = _instruction(
    types.intp,
    lambda builder, told: builder.atomic_rmw(
        "add", builder.bitcast(told, cgutils.intp_t.as_pointer()), cgutils.intp_t(1), "monotonic"
    ),
)
"""A task calls it with what it is given, and has the number of a share that no other thread has."""
