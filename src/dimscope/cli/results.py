"""`dimscope report`, `query` and `export`: what lies in an output folder, looked at again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dimscope.cli.reproduce import opened
from dimscope.cli.terminal import watching
from dimscope.store import index


def report(folder: Path, /) -> None:
    """Write summary, tables and page of a study again.

    Parameters
    ----------
    folder:
        The output folder of `dimscope reproduce`.
    """
    with watching():
        opened(folder).report(folder)


def query(folder: Path, sql: str, /) -> None:
    """Ask the table `numbers` (one row per number and place) a question, and print the answer as CSV.

    Parameters
    ----------
    folder:
        An output folder.
    sql:
        For example: SELECT model, avg(value) FROM numbers WHERE name = 'accuracy' GROUP BY model
    """
    print(index.query(folder, sql).to_csv(index=False), end="")


def export(
    folder: Path, /, *, by: str, format: Literal["csv", "xlsx", "parquet"] = "csv", to: Path | None = None
) -> None:
    """Write the numbers of all runs as one file for each value of a column.

    Parameters
    ----------
    folder:
        An output folder.
    by:
        The column: method, model, task, seed, …
    format:
        Of the files.
    to:
        Folder for the files; OUT/export if not given.
    """
    for path in index.export(folder, by, format, to or folder / "export"):
        print(path)
