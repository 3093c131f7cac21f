"""Freed memory that the process keeps."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from dimscope.core.memory import in_own_pages, keep_freed_memory

_SCRIPT = """
import resource
import numpy as np
from dimscope.core.memory import in_own_pages, keep_freed_memory

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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux what the process holds")
def test_own_pages_go_back_at_once_and_take_nothing_before_they_are_written_to():
    keep_freed_memory()
    held = [_resident()]
    rows = in_own_pages(2**14, 2**10)
    held.append(_resident())
    rows[:] = 1
    held.append(_resident())
    assert rows.sum() == 2**24
    del rows
    held.append(_resident())
    grown = np.diff(held) / 2**20
    np.testing.assert_allclose(grown, [0, 64, -64], atol=8)


def _resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_no_rows_are_no_pages():
    assert in_own_pages(0, 5).shape == (0, 5)
