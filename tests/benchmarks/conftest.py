from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

# Benchmarks find their frame beside them, as files that are run do.
sys.path.append(str(BENCHMARKS))


@pytest.fixture
def benchmarks(tmp_path) -> Path:
    """Give a copy of the benchmarks, so that what tests measure is not kept with what was measured in earnest."""
    return shutil.copytree(BENCHMARKS, tmp_path / "benchmarks", ignore=shutil.ignore_patterns("results", "__pycache__"))
