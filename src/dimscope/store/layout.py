"""Where everything lies in an output folder, and what of it is there already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dimscope.core.errors import UserError
from dimscope.core.provenance import digest
from dimscope.core.result import Result
from dimscope.store.runs import load_run, save_run
from dimscope.store.states import States, open_states, save_states


@dataclass(frozen=True)
class Store:
    """An output folder: runs, checkpoints and states, each in a folder of its own that is named by a hash."""

    root: Path

    def load_run(self, method: str, key: str) -> Result | None:
        """Give a finished run, or None."""
        return load_run(self._run(method, key))

    def save_run(self, method: str, key: str, result: Result) -> None:
        """Keep a finished run."""
        save_run(self._run(method, key), result)

    def runs(self) -> list[Result]:
        """Give all finished runs, in the order of their folders' names; what a killed run left begins with a dot."""
        found = (load_run(folder) for folder in sorted(self.root.glob("runs/[!.]*")))
        return [result for result in found if result is not None]

    def checkpoint(self, key: str) -> Path:
        """Give the folder of a checkpoint, there or not."""
        return self.root / "checkpoints" / key

    def checkpoints(self) -> list[str]:
        """Give the keys of all checkpoints."""
        return sorted(path.name for path in self.root.glob("checkpoints/[!.]*"))

    def has_checkpoint(self, key: str) -> bool:
        """Tell whether there is a checkpoint of that key."""
        return key in self.checkpoints()

    def load_states(self, about: Mapping[str, Any]) -> States | None:
        """Give stored states, or None where there are none or they are damaged."""
        try:
            states = open_states(self.states(about))
        except UserError:
            return None
        return states if states.is_intact() else None

    def save_states(self, about: Mapping[str, Any], states: np.ndarray) -> States:
        """Keep states under what they are the states of."""
        save_states(self.states(about), states, about)
        return open_states(self.states(about))

    def states(self, about: Mapping[str, Any]) -> Path:
        """Give the folder of states, there or not."""
        return self.root / "states" / digest(dict(about))

    def _run(self, method: str, key: str) -> Path:
        return self.root / "runs" / f"{method.replace('/', '-')}-{key}"
