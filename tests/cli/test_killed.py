"""A study that is killed again and again and started with the same words ends with the numbers of an undisturbed one."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = """
import os, signal, sys
from dimscope.store import files

moments = int(sys.argv.pop(1))
sync = files.os.fsync

def count(descriptor):
    global moments
    moments -= 1
    if moments == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)

files.os.fsync = count
from dimscope.cli.main import main
main()
"""
"""Runs the command and kills it in the middle of the given write. Writes are where a kill could do harm, and unlike
seconds they are the same on every machine."""


def run(folder: Path, words: str, kill_at: int) -> int:
    """Run the command, killed at its `kill_at`-th write (0: never), and give its exit code."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(kill_at), *shlex.split(words)],
        cwd=folder,
        env={**os.environ, "DIMSCOPE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    ).returncode
