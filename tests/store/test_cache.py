from __future__ import annotations

from pathlib import Path

import pytest

from dimscope.store.cache import cache_folder


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"DIMSCOPE_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/dimscope"),
        ({"HOME": "/home/someone"}, "/home/someone/.cache/dimscope"),
        (
            {"HOME": "/home/someone", "DIMSCOPE_CACHE": "", "XDG_CACHE_HOME": ""},
            "/home/someone/.cache/dimscope",
        ),
    ],
)
def test_the_nearest_wish_counts(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str):
    for name in ("DIMSCOPE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)
