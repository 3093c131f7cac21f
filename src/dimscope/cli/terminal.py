"""What a person sees while the command works: bars with the time left, messages, tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cyclopts import Parameter
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dimscope.core import progress

DEFAULTS = Parameter(consume_multiple=True, negative=())
"""Lists take several values behind one flag; no flag is made up by negating another."""

console = Console(stderr=True, highlight=False)


def quiet_libraries() -> None:
    """Keep other libraries' own bars and remarks off the terminal, unless somebody asked for them."""
    for name, value in (
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("TOKENIZERS_PARALLELISM", "true"),
    ):
        os.environ.setdefault(name, value)


class Bars:
    """Draws what the library reports: a bar for every piece of work, gone when it is done."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def begin(self, what: str, total: int) -> Callable[[int], None]:
        """Show a bar and give what moves it."""
        task = self._tasks[what] = self._bars.add_task(what, total=total)
        return lambda steps: self._bars.advance(task, steps)

    def end(self, what: str) -> None:
        """Take the bar away."""
        self._bars.remove_task(self._tasks.pop(what))

    def say(self, message: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(message, markup=False)


@contextmanager
def watching() -> Iterator[None]:
    """Within the block, show progress and messages on standard error; results alone go to standard output."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars, progress.listening(Bars(bars)):
        yield
