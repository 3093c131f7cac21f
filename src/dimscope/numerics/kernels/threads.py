"""Compiled work in the threads that torch has: those of another pool would wait for them.

GNU's OpenMP keeps its threads busy for some milliseconds after torch's last operation, so that the next one starts at
once. On a machine with as many cores as threads, any other thread shares its core with one that waits.

A task is a function that numba's `cfunc` compiles. Every thread calls it with the address of the same record of whole
numbers, and takes ranges of the pieces of work, not knowing of the others, until none is left: who is kept from a core
takes fewer.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from numba import carray, cfunc, from_dtype, njit, types
from numba.core import cgutils
from torch import Tensor

from dimscope.numerics.kernels.instructions import compiled, instruction

_RANGES = 8
"""Ranges for each thread."""
_PROCESS = os.getpid()


class Task:
    """What every thread does, compiled when it is first called.

    The kernel is called with the address of a record: `num_pieces`, and numbers and places of these `names`. It asks
    `next_range` which pieces are to be done.
    """

    def __init__(self, kernel: Callable[[Any], None], *names: str) -> None:
        self._kernel, self._names = kernel, ("next_range", "num_ranges", "num_pieces", *names)
        self._record = ctypes.c_ssize_t * len(self._names)

    @cached_property
    def _compiled(self) -> Any:
        kind = from_dtype(np.dtype([(name, np.intp) for name in self._names]))
        return compiled(self._kernel, cfunc, types.void(types.CPointer(kind)))

    def __call__(self, num_threads: int, num_pieces: int, **told: int | Tensor | np.ndarray | None) -> None:
        """Do it in so many threads at once, or in fewer: see `in_torch_threads`.

        Of tensors and arrays the kernel is told where their first number stands, or 0 where there is none.
        """
        num_threads = max(min(num_threads, num_pieces), 1)
        told |= {"next_range": 0, "num_ranges": min(_RANGES * num_threads, num_pieces), "num_pieces": num_pieces}
        in_torch_threads(self._compiled, self._record(*[_number(told[name]) for name in self._names]), num_threads)


def _number(told: int | Tensor | np.ndarray | None) -> int:
    if isinstance(told, Tensor):
        return told.data_ptr()
    return told.ctypes.data if isinstance(told, np.ndarray) else told or 0


def in_torch_threads(task: Any, record: ctypes.Array[ctypes.c_ssize_t], num_threads: int) -> None:
    """Call a compiled task with the address of a record in so many threads at once.

    There may be fewer: only this one where torch is not linked with OpenMP, and in a fork, which has none of its
    parent's threads.
    """
    parallel = _openmp() if num_threads > 1 and os.getpid() == _PROCESS else None
    if parallel:
        parallel(task.address, ctypes.addressof(record), num_threads, 0)
    else:
        task.ctypes(ctypes.cast(record, ctypes.c_void_p))


@cache
def _openmp() -> Callable[[int, int, int, int], None] | None:
    """Give the entry of the OpenMP that torch is linked with; LLVM's bears GNU's name for it too."""
    parallel = getattr(ctypes.CDLL(torch._C.__file__), "GOMP_parallel", None)
    if parallel:
        parallel.argtypes, parallel.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return parallel


_next = instruction(
    types.intp,
    lambda builder, record: builder.atomic_rmw(
        "add", builder.bitcast(record, cgutils.intp_t.as_pointer()), cgutils.intp_t(1), "monotonic"
    ),
)
"""Gives the number of a range that no other thread has."""


@njit
def next_range(given: Any) -> tuple[int, int]:
    """Give the first piece of a range that no other thread has and the one after its last; 0, 0 when none is left."""
    work, number = carray(given, 1)[0], _next(given)
    if number >= work.num_ranges:
        return 0, 0
    return work.num_pieces * number // work.num_ranges, work.num_pieces * (number + 1) // work.num_ranges
