"""Tiny networks of every family, made once per run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from dimscope.models.catalogue import ModelSource
from dimscope.models.load import Network, load
from dimscope.models.tiny import write_tiny


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @cache
    def write(family: str) -> Path:
        folder = tmp_path_factory.mktemp(family)
        write_tiny(family, folder)
        return folder

    return write


@pytest.fixture(scope="session")
def tiny_network(tiny_folder: Callable[[str], Path]) -> Callable[[str], Network]:
    @cache
    def make(family: str) -> Network:
        return load(ModelSource(family, "folder", str(tiny_folder(family))), num_labels=3, seed=1)

    return make
