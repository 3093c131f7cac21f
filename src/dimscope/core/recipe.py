"""What a recipe is: one paper's claim, checked on any models and tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from dimscope.core.method import Settings


class Recipe(Settings, ABC):
    """Frozen settings and `reproduce(out)`. One subclass per file; the name of the file is its name."""

    sources: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def name(cls) -> str:
        """Give the recipe's name, which is its file's: 'outlier_dimensions'."""
        return cls.__module__.rpartition(".")[2]

    @abstractmethod
    def reproduce(self, out: Path) -> None:
        """Run every method on every bench, keeping all in the folder `out`, and write summary, tables and page."""

    @abstractmethod
    def report(self, out: Path) -> None:
        """Write summary, tables and page again from the runs that `out` holds."""

    @classmethod
    @abstractmethod
    def join(cls, studies: Mapping[Path, Self], out: Path) -> None:
        """Write summary, tables and page of several studies, kept in those folders, as those of one."""
