"""A function in a process of its own, and the most memory that the process ever held."""

from __future__ import annotations

import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any


def fresh(function: Callable[..., Any], *given: Any) -> tuple[Any, float]:
    """Give what the function returns and the peak resident set (MiB), which includes what it imports.

    The function stands at the top of its file, so that the new process finds it.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_observed, function, given).result()


def _observed(function: Callable[..., Any], given: tuple[Any, ...]) -> tuple[Any, float]:
    return function(*given), peak_mib()


def peak_mib() -> float:
    """Give the most memory that this process ever held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux's getrusage would count the parent's memory too, which the child shares until it executes Python.
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
