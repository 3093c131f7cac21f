"""Keep what was freed, or give it back: glibc does neither in the way that a long computation needs.

Every training step takes and frees hundreds of MiB. By default glibc gives large pieces back at once, and the system
clears each page anew; on virtual machines a tenth to a quarter of a step goes there. Once it has seen large pieces it
keeps them instead, and where every batch is of another shape the gaps between them grow to hundreds of MiB.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
from jaxtyping import Float32

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # mallopt(3)
_ONE_GIB = 2**30


def keep_freed_memory() -> bool:
    """From now on let this process keep freed memory for its next use; tells whether the C library can be asked to.

    The greatest amount in use is the same as before, but for gaps between the pieces.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _ONE_GIB))


def give_back_freed_memory() -> bool:
    """Give the system the pages that are free now; tells whether the C library can be asked to.

    What needs them next pays for new ones: every few batches that is a hundredth of the time, with every batch a tenth.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return bool(trim and trim(0))


def in_own_pages(num_rows: int, num_numbers: int) -> Float32[np.ndarray, "rows numbers"]:
    """Give zeros that share no page with anything: freed, they go back to the system at once and leave no gap.

    What is never written to takes no memory.

    >>> in_own_pages(2, 3)
    array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    num_bytes = num_rows * num_numbers * np.dtype(np.float32).itemsize
    pages = np.frombuffer(mmap.mmap(-1, max(num_bytes, 1)), np.uint8, num_bytes)
    return pages.view(np.float32).reshape(num_rows, num_numbers)
