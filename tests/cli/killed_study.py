"""Runs a study undisturbed, then again in another folder, killed in the middle of that many writes until it ends.

    python killed_study.py NUM_KILLS SEED WORDS…

Each start is a fork of this process, which has imported everything and computed nothing. The moments of the kills are
counted in writes: there a kill can do harm, and unlike seconds they are the same on every machine.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
from collections.abc import Callable

import numpy as np

import dimscope.recipes.outlier_dimensions  # noqa: F401
from dimscope.cli.main import main

num_writes = np.frombuffer(mmap.mmap(-1, 8), np.int64)
"""Shared with the forks."""


def killing(write: Callable, kill_at: int) -> Callable:
    def counted(*arguments, **options):
        num_writes[0] += 1
        if num_writes[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(*arguments, **options)

    return counted


def start(words: list[str], kill_at: int = 0) -> int:
    """Give the exit code, or minus the signal."""
    num_writes[0] = 0
    process = os.fork()
    if process == 0:
        for name in ("fsync", "replace", "rename"):
            setattr(os, name, killing(getattr(os, name), kill_at))
        sys.argv = ["dimscope", *words]
        main()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill(num_kills: int, seed: int, words: list[str]) -> None:
    assert start([*words, "--out", "undisturbed"]) == 0
    longest = int(1.5 * num_writes[0] / (num_kills + 1))
    rng = np.random.default_rng(seed)
    for _ in range(num_kills):
        assert start([*words, "--out", "killed"], int(rng.integers(1, longest))) == -signal.SIGKILL
    assert start([*words, "--out", "killed"]) == 0


if __name__ == "__main__":
    kill(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
