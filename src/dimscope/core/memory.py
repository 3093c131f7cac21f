"""Keep what was freed: asking the system for the same memory again and again costs more than the arithmetic.

Every training step takes and frees hundreds of MiB. By default glibc gives large pieces back at once, and the system
clears each page anew; on virtual machines a tenth to a quarter of a step goes there.
"""

from __future__ import annotations

import ctypes
import sys

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
