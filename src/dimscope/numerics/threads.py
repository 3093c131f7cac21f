"""Compiled work in the threads that torch has: those of another pool would wait for them.

GNU's OpenMP keeps its threads busy for some milliseconds after torch's last operation, so that the next one starts at
once. On a machine with as many cores as threads, any other thread shares its core with one that waits.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

_PROCESS = os.getpid()


def in_torch_threads(task: Any, given: np.ndarray, num_threads: int) -> None:
    """Call a task of numba's `cfunc` with the address of an array, in so many threads at once.

    What they have to do they share out among themselves, for there may be fewer: only this one where torch is not
    linked with OpenMP, and in a fork, which has none of its parent's threads.
    """
    parallel = _openmp() if num_threads > 1 and os.getpid() == _PROCESS else None
    if parallel:
        parallel(task.address, given.ctypes.data, num_threads, 0)
    else:
        task.ctypes(given.ctypes.data_as(ctypes.c_void_p))


@cache
def _openmp() -> Callable[[int, int, int, int], None] | None:
    """Give the entry of the OpenMP that torch is linked with; LLVM's bears GNU's name for it too."""
    parallel = getattr(ctypes.CDLL(torch._C.__file__), "GOMP_parallel", None)
    if parallel:
        parallel.argtypes, parallel.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return parallel
