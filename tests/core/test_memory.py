"""Freed memory that the process keeps."""

from __future__ import annotations

import os
import subprocess
import sys

from dimscope.core.memory import keep_freed_memory

_SCRIPT = """
import resource
import numpy as np
from dimscope.core.memory import keep_freed_memory

if {kept}:
    assert keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(4 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(kept: bool) -> int:
    # Large pages, which NumPy asks for and the system has or has not, would make the counts a matter of chance.
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}
    script = [sys.executable, "-c", _SCRIPT.format(kept=kept)]
    run = subprocess.run(script, capture_output=True, text=True, check=True, env=environment)
    return int(run.stdout)


def test_the_same_memory_is_not_asked_for_again():
    if not sys.platform.startswith("linux") or not keep_freed_memory():
        return
    # 20 times 32 MiB.
    assert _page_faults(kept=True) < _page_faults(kept=False) / 4


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
