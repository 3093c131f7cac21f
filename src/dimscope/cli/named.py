"""The commands whose first word names a method or a recipe, and whose flags depend on it.

What they run is imported when the name is given, so that listing the names takes no time.
"""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Annotated

from cyclopts import App, Parameter

from dimscope.discovery import methods, recipes


def _by_name(command: str, what: str, names: Callable[[], dict[str, str]]) -> App:
    """Give a command that hands all words behind the name over to the command that its own module makes for it."""
    app = App(name=command, help_flags=())

    @app.default
    def dispatch(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
        if not words or words[0] in ("-h", "--help"):
            _print_usage(command, what, names())
        else:
            make = resolve_name(f"dimscope.cli.{command}:command_of")
            make(words[0])(words[1:], exit_on_error=False, print_error=False, result_action="return_value")

    return app


def _print_usage(command: str, what: str, names: dict[str, str]) -> None:
    print(
        f"Usage: dimscope {command} {what} [OPTIONS]\n\n`dimscope {command} NAME --help` shows the options of each:\n"
    )
    for name, line in names.items():
        print(f"  {name}\n      {line}")


run = _by_name("run", "ROLE/METHOD", methods)
reproduce = _by_name("reproduce", "RECIPE", recipes)
