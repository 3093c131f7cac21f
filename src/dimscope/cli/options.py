"""The flags that name a bench, the same in every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from dimscope.bench import Bench
from dimscope.core.method import Settings
from dimscope.data.options import TaskOptions


class BenchOptions(Settings):
    """A model, a task, a seed, a device, and where to keep the results."""

    model: str
    """Alias (see `dimscope list models`), hub id, or local folder."""
    task: str
    """Alias (see `dimscope list tasks`), glue/<name>, or a CSV, TSV, JSONL or Parquet file."""
    out: Path
    """Folder for runs, checkpoints and states."""
    seed: int = Field(1, ge=0)
    """Where everything random comes from."""
    device: str = "auto"
    """cpu, cuda, or auto: the GPU if there is one."""
    checkpoint: str | None = Field(None, min_length=1)
    """A fine-tuned model to stand on: its hash in the output folder, or a folder."""

    def bench(self, task: TaskOptions) -> Bench:
        """Set up the bench."""
        return Bench(**self.model_dump(), **task.model_dump())


BenchFlags = Annotated[BenchOptions, Parameter(name="*", group="Bench")]
TaskFlags = Annotated[TaskOptions, Parameter(name="*", group="Task")]
DEFAULT_TASK = TaskOptions()
