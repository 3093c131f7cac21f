"""A command whose first word names a method or a recipe, and whose flags depend on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from cyclopts import App, Parameter


def by_name(command: str, what: str, names: Callable[[], dict[str, str]], make: Callable[[str], App]) -> App:
    """Give a command that hands everything behind the name over to the command that `make` gives for it."""
    app = App(name=command, help_flags=())

    @app.default
    def dispatch(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
        if not words or words[0] in ("-h", "--help"):
            _print_usage(command, what, names())
        else:
            make(words[0])(words[1:], exit_on_error=False, print_error=False, result_action="return_value")

    return app


def _print_usage(command: str, what: str, names: dict[str, str]) -> None:
    print(
        f"Usage: dimscope {command} {what} [OPTIONS]\n\n`dimscope {command} NAME --help` shows the options of each:\n"
    )
    for name, line in names.items():
        print(f"  {name}\n      {line}")
