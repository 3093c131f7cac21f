"""How long one waits for an answer that needs no model: the commands that a shell asks again and again.

A fresh process each time, from start to exit, its output thrown away. What must not be imported for it is counted too.

python benchmarks/startup.py [--quick] [--json]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from frame.versus import Row, alternate, main

COMMANDS = ("--help", "list methods", "list models")

ALLOWED_SECONDS = 0.4

HEAVY = ("torch", "transformers", "pandas")


def seconds(quick: bool) -> Iterator[Row]:
    works = {command: lambda command=command: _run("-m", "dimscope.cli.main", *command.split()) for command in COMMANDS}
    took = alternate(3 if quick else 15, **works, nothing=lambda: _run("-c", "pass"))
    floor = {"floor": took["nothing"], "floor_is": "python -c pass"}
    for command in COMMANDS:
        name = f"dimscope {command}: the {ALLOWED_SECONDS} s that it may take"
        yield Row.cost(name, took[command], ALLOWED_SECONDS, at_most=1, **floor)


def imports(_: bool) -> Iterator[Row]:
    for command in COMMANDS:
        found = [each for each in HEAVY if each in _imported(command)]
        name = f"dimscope {command}: imports of {', '.join(HEAVY)}"
        yield Row(name, len(found), 0, "lower", len(found), 0, "packages")


def _imported(command: str) -> set[str]:
    """What Python says it imported on the way."""
    told = _run("-X", "importtime", "-m", "dimscope.cli.main", *command.split()).stderr
    return {line.rpartition("|")[2].strip() for line in told.splitlines()}


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)


if __name__ == "__main__":
    main(__file__, [seconds, imports])
