"""`dimscope run ROLE/METHOD`: one method on one bench; its flags are made from its settings."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from dimscope.cli.options import DEFAULT_TASK, BenchFlags, TaskFlags
from dimscope.cli.terminal import DEFAULTS, watching
from dimscope.core.processes import is_main
from dimscope.core.result import Result
from dimscope.discovery import find_method
from dimscope.report.tables import cell
from dimscope.running import run

_BENCH = ("model", "task", "seed", "weights")
"""What is the same for all numbers of a run, and so stands above its table."""


def command_of(name: str) -> App:
    """Give the command of one method."""
    method = find_method(name)
    app = App(name=f"dimscope run {name}", help=method.__doc__, default_parameter=DEFAULTS, help_format="plaintext")

    def command(*, bench: BenchFlags, task: TaskFlags = DEFAULT_TASK, settings: Any = None) -> None:
        with watching(bench.out):
            result = run(settings or method(), bench.bench(task))
        if is_main():
            show(result)

    command.__annotations__["settings"] = Annotated[method, Parameter(name="*", group="Settings")]
    app.default(command)
    return app


def show(result: Result) -> None:
    """Print the numbers of a run, its notes and its checkpoint on standard output."""
    print(" · ".join(f"{part} {value}" for part, value in result.numbers[0].where.items() if part in _BENCH))
    Console(highlight=False).print(_table(result))
    for note in result.notes:
        print(f"Note: {note}")
    if result.checkpoint:
        print(f"Checkpoint: {result.checkpoint}")


def _table(result: Result) -> Table:
    """A row for each number: where it stands within the run, its name, value and interval."""
    places = [
        part for part in dict.fromkeys(part for each in result.numbers for part in each.where) if part not in _BENCH
    ]
    table = Table(*places, "number", "value", box=None, pad_edge=False)
    for each in result.numbers:
        place = (str(each.where.get(part, "")) for part in places)
        table.add_row(*place, each.name, cell(each.value, each.interval, unit=each.unit))
    return table
