"""The tree, and the code that stands in its pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

_BLOCK = re.compile(r"^(?P<fence>`{3,})(?P<language>[^`\n]*)\n(?P<code>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def root() -> Path:
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def blocks(root) -> Callable[[str, str], list[str]]:
    """Give the code blocks of a page in one language; '' for those in none."""

    def of_page(page: str, language: str) -> list[str]:
        found = _BLOCK.finditer((root / page).read_text(encoding="utf-8"))
        return [block["code"] for block in found if block["language"] == language]

    return of_page


@pytest.fixture
def reviews_csv(tmp_path) -> Path:
    """A task of two classes in a file, with the columns' usual names."""
    classes = {"good": "good", "great": "good", "bad": "bad", "dull": "bad"}
    rows = [f"the {what} was {how},{label}" for what in "abcdefghijklmnopqrst" for how, label in classes.items()]
    path = tmp_path / "reviews.csv"
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path
