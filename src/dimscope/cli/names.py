"""`dimscope list`: what there is to choose from; nothing heavy is imported to tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from rich.console import Console
from rich.table import Table

from dimscope.data.names import tasks
from dimscope.discovery import methods, recipes
from dimscope.models.catalogue import models

_KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "methods": methods,
    "recipes": recipes,
    "models": models,
    "tasks": tasks,
}


def show(kind: Literal["methods", "recipes", "models", "tasks"] | None = None, /) -> None:
    """List methods, recipes, models and tasks.

    Parameters
    ----------
    kind:
        Only these.
    """
    for name in [kind] if kind else _KINDS:
        table = Table(title=name.capitalize(), title_justify="left", box=None, show_header=False, pad_edge=False)
        table.add_column(no_wrap=True, style="bold")
        table.add_column()
        for each, line in _KINDS[name]().items():
            table.add_row(each, line)
        Console().print(table, "")
