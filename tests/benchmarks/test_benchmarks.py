"""Every benchmark says what was asked of it; the light ones are run, small."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("name", ["startup", "one_dimension", "moments"])
def test_quick_ends_with_the_object(benchmarks, name):
    command = [sys.executable, benchmarks / f"{name}.py", "--quick", "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = json.loads(run.stdout.splitlines()[-1])["rows"]
    assert rows
    for row in rows:
        assert list(row) == ["name", "ratio", "target", "better", "ours", "peer", "unit"]
    (line,) = (benchmarks / "results" / f"{name}.jsonl").read_text().splitlines()
    kept = json.loads(line)
    assert kept["quick"]
    assert [row["ratio"] for row in kept["rows"]] == [row["ratio"] for row in rows]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_says_how_it_is_run_and_runs_in_the_frame(file):
    source = file.read_text()
    assert f"python benchmarks/{file.name} [--quick] [--json]" in ast.get_docstring(ast.parse(source))
    assert "main(__file__, [" in source
