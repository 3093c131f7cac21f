"""`dimscope reproduce RECIPE`: one paper's claim; its flags are made from the recipe's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from dimscope.cli.terminal import DEFAULTS, watching
from dimscope.core.recipe import Recipe
from dimscope.discovery import find_recipe
from dimscope.store.study import open_study, write_study


def command_of(name: str) -> App:
    """Give the command of one recipe."""
    recipe = find_recipe(name)
    app = App(
        name=f"dimscope reproduce {name}",
        help=recipe.__doc__,
        default_parameter=DEFAULTS,
        help_format="plaintext",
    )

    def command(*, settings: Any = None, out: Annotated[Path, Parameter(help="Folder of the study.")]) -> None:
        asked = settings or recipe()
        write_study(out, name, asked.model_dump(mode="json"))
        with watching(out):
            asked.reproduce(out)

    command.__annotations__["settings"] = Annotated[recipe, Parameter(name="*")]
    app.default(command)
    return app


def opened(out: Path) -> Recipe:
    """Give the recipe that the study in `out` asked for, with its settings."""
    name, settings = open_study(out)
    return find_recipe(name)(**settings)
