"""`dimscope run ROLE/METHOD`: one method on one bench; its flags are made from its settings."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console

from dimscope.cli.named import by_name
from dimscope.cli.options import BenchFlags, TaskFlags
from dimscope.cli.terminal import DEFAULTS, watching
from dimscope.core.method import Method
from dimscope.core.result import Result
from dimscope.data.options import TaskOptions
from dimscope.discovery import find_method, methods
from dimscope.running import run


def _command(name: str) -> App:
    """The command of one method."""
    method = find_method(name)
    app = App(name=f"dimscope run {name}", help=method.__doc__, default_parameter=DEFAULTS)

    def command(*, bench: BenchFlags, task: TaskFlags = TaskOptions(), settings: Any = None) -> None:
        with watching():
            result = run(settings or method(), bench.bench(task))
        show(result)

    command.__annotations__["settings"] = Annotated[method, Parameter(name="*", group="Settings")]
    app.default(command)
    return app


def show(result: Result) -> None:
    """Print the numbers of a run as a table on standard output."""
    Console(highlight=False).print(_table(result))
    for note in result.notes:
        print(f"Note: {note}")
    if result.checkpoint:
        print(f"Checkpoint: {result.checkpoint}")


app = by_name("run", "ROLE/METHOD", methods, _command)
