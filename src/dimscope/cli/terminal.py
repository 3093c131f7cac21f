"""What a person sees while the command works: bars with the time left, messages, tables."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

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
from dimscope.core.processes import is_main
from dimscope.store.log import log

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
    """Draws what the library reports, a bar for every piece of work, gone when it is done; messages are noted too."""

    def __init__(self, bars: Progress, note: Callable[[str], None]) -> None:
        self._bars = bars
        self._note = note
        self._tasks: dict[str, TaskID] = {}
        self._last = ""

    def begin(self, what: str, total: int) -> Callable[[int], None]:
        """Show a bar and give what moves it."""
        task = self._tasks[what] = self._bars.add_task(what, total=total)
        return lambda steps: self._bars.advance(task, steps)

    def end(self, what: str) -> None:
        """Take the bar away."""
        self._bars.remove_task(self._tasks.pop(what))

    def say(self, message: str) -> None:
        """Print a line above the bars, but once where many runs of a study say the same; the log has every one."""
        if message != self._last:
            self._bars.console.print(message, markup=False, soft_wrap=True)
        self._last = message
        self._note(message)


@contextmanager
def watching(out: Path | None = None) -> Iterator[None]:
    """Within the block, show progress and messages on standard error, and keep the messages in `out`/log.txt.

    Results alone go to standard output. Of several processes only the main one shows and keeps anything. Where
    standard error is no terminal, there are messages and no bars.
    """
    if not is_main():
        yield
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bars = Progress(*columns, console=console, transient=True)
    with (
        log(out / "log.txt", shlex.join(["dimscope", *sys.argv[1:]])) if out else nullcontext(_forget) as note,
        bars if console.is_terminal else nullcontext(),
        progress.listening(Bars(bars, note)),
    ):
        yield


def _forget(message: str) -> None:
    """Keep no log."""
