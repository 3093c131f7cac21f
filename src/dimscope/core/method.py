"""What a method is: frozen settings that can be run on a bench."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from dimscope.core.bench import Bench
from dimscope.core.provenance import run_key

if TYPE_CHECKING:  # pandas comes with it, and methods are listed without
    from dimscope.core.result import Result


class Settings(BaseModel):
    """Named values with a range, a default and one sentence each; frozen; a name that it does not have is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Method(Settings, ABC):
    """Frozen settings and `run(bench) -> Result`. One subclass per file; the path of the file is its name.

    `sources` says whose method it is, down to the equation. `version` is raised when the numbers change.
    `in_all_processes` is for what shares its work out over the processes of `accelerate launch`; anything else runs in
    the main one.
    """

    sources: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    in_all_processes: ClassVar[bool] = False

    @classmethod
    def name(cls) -> str:
        """Give the method's name, which is its path: 'measure/outlier_dimensions'."""
        return "/".join(cls.__module__.split(".")[-2:])

    def resolved(self, bench: Bench) -> Self:
        """Give the settings with every 'auto' made definite on this bench, as they are stored and hashed."""
        return self

    def key(self, bench: Bench) -> str:
        """Give the hash that names the run of these settings on this bench: equal keys, equal numbers."""
        return run_key(self.name(), self.version, self.model_dump(mode="json"), bench.spec)

    @abstractmethod
    def run(self, bench: Bench) -> Result:
        """Do it, leaving the bench as it was."""
