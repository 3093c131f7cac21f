"""A study that is killed again and again and started with the same words ends with the numbers of an undisturbed one."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("num_kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_study_ends_with_the_same_numbers(folder, study, num_kills):
    script = Path(__file__).with_name("killed_study.py")
    ran = subprocess.run(
        [sys.executable, script, str(num_kills), "7", *shlex.split(study)],
        cwd=folder,
        env={**os.environ, "DIMSCOPE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    killed, undisturbed = ((folder / name / "summary.json").read_text() for name in ("killed", "undisturbed"))
    assert len(json.loads(killed)["numbers"]) > 100
    assert killed == undisturbed
    assert not list((folder / "killed").rglob(".tmp-*"))
    log = (folder / "killed" / "log.txt").read_text()
    assert log.count(" started: ") > log.count(" done in ") == 1
