"""The command line called in this process, and the small files that it is tried on."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dimscope.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def dimscope(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], Outcome]:
    """Call the command with words as in a shell, standing in a folder."""
    cache = tmp_path_factory.mktemp("cache")

    def call(words: str, folder: Path) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, chdir(folder), redirect_stdout(out), redirect_stderr(err):
            patch.setenv("DIMSCOPE_CACHE", str(cache))
            patch.setattr(sys, "argv", ["dimscope", *shlex.split(words)])
            try:
                main()
                code = 0
            except SystemExit as left:
                code = left.code
        return Outcome(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def write_reviews() -> Callable[[Path], Path]:
    """Write sentences of 3 to 12 words which are good if they say 'good'."""

    def write(path: Path) -> Path:
        rng = np.random.default_rng(0)
        filler = ["the", "film", "is", "a", "story", "and", "with", "of"]
        rows = ["text,label"]
        for row in range(60):
            words = rng.choice(filler, size=rng.integers(2, 12)).tolist()
            words.insert(rng.integers(len(words) + 1), ("sad", "good")[row % 2])
            rows.append(f"{' '.join(words)},{('bad', 'good')[row % 2]}")
        path.write_text("\n".join(rows) + "\n")
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path, write_reviews: Callable[[Path], Path]) -> Path:
    """Give a folder with reviews.csv."""
    write_reviews(tmp_path / "reviews.csv")
    return tmp_path


@pytest.fixture(scope="session")
def study() -> str:
    """The words of a study that takes a few seconds, but for --out."""
    return (
        "reproduce outlier_dimensions --models tiny/bert --tasks reviews.csv --seeds 1 2 --finetune.epochs 1 "
        "--finetune.precision float32 --one-dimension.num-permutations 99 --one-dimension.num-random-directions 3 "
        "--one-dimension.num-label-permutations 3 --ablation.num-draws 2 --ablation.num-layer-draws 1"
    )
