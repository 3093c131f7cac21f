"""`dimscope report`, `query` and `export`: what lies in an output folder, looked at again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from dimscope.cli.reproduce import opened
from dimscope.cli.terminal import watching
from dimscope.core.errors import UserError
from dimscope.core.progress import say
from dimscope.report.runs import runs_page
from dimscope.report.written import write_page
from dimscope.store import index
from dimscope.store.layout import Store


def report(first: Path, /, *others: Path, out: Path | None = None) -> None:
    """Write summary, tables and page of a study again, or of several together; or the page of single runs.

    Parameters
    ----------
    first:
        The output folder of `dimscope reproduce`, or one of `dimscope run`.
    others:
        More such folders, to be joined with the first.
    out:
        Folder for the joint page.
    """
    with watching():
        if others:
            _join([first, *others], out)
        elif out is not None:
            raise UserError("--out is where the page of several studies goes; that of one lies in its own folder")
        elif (runs := Store(first).runs()) and not (first / "study.json").exists():
            say(f"The page: {write_page(first, runs_page(runs))}")
        else:
            opened(first).report(first)


def _join(folders: Sequence[Path], out: Path | None) -> None:
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError(f"wanted different studies, and a folder is named twice: {', '.join(map(str, folders))}")
    studies = {folder: opened(folder) for folder in folders}
    recipe = studies[folders[0]]
    if any(type(study) is not type(recipe) for study in studies.values()):
        names = ", ".join(f"{folder} of {study.name()}" for folder, study in studies.items())
        raise UserError(f"wanted studies of one recipe, got {names}: report them apart")
    if out is None or (out / "study.json").exists():
        raise UserError("the page of several studies needs a folder of its own that is no study: name it with --out")
    recipe.join(studies, out)


def query(folder: Path, sql: str, /) -> None:
    """Ask the tables `numbers` and `pooled` a question, and print the answer as CSV.

    `numbers` has one row per number and place of every run; `pooled` what a recipe added (averages over seeds, say).

    Parameters
    ----------
    folder:
        An output folder.
    sql:
        For example: SELECT model, avg(value) FROM numbers WHERE method = 'finetune/full' AND name = 'accuracy' GROUP BY
        model
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
