"""Questions to a folder of runs: one row per named number and place, asked in SQL, or exported."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import duckdb
import pandas as pd

from dimscope.core.errors import UnknownName, UserError
from dimscope.core.result import Number, Result
from dimscope.store.files import write_bytes, write_json
from dimscope.store.layout import Store
from dimscope.store.runs import numbers_to_json
from dimscope.store.spreadsheets import inert


def write_summary(out: Path, recipe: str, numbers: Sequence[Number]) -> None:
    """Write summary.json: all numbers of a recipe, in the schema of result.json."""
    write_json(out / "summary.json", {"schema": 1, "recipe": recipe, "numbers": numbers_to_json(numbers)})


def numbers(root: Path) -> pd.DataFrame:
    """Give every number of every finished run of a method: a row each, with its method, its place and its settings.

    What recipes made of them is not among them, or each would be there twice.

    Raises:
        UserError: the folder holds no finished run.
    """
    runs, _ = _finished(root)
    return _rows(runs)


def query(root: Path, sql: str) -> pd.DataFrame:
    """Answer a question about the tables `numbers` and `pooled`, which is what recipes added: averages, comparisons.

    Raises:
        UserError: the folder holds no finished run, or DuckDB does not understand the question.
    """
    runs, pooled = _finished(root)
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.register("numbers", _rows(runs))
        if pooled:
            connection.register("pooled", _rows(_added(pooled, runs)))
        try:
            answer = connection.sql(sql)
            if answer is None:
                raise UserError(f"wanted a question that has an answer, such as SELECT * FROM numbers, got {sql!r}")
            return answer.df()
        except duckdb.Error as error:
            raise UserError(f"the question could not be answered: {error}") from error


def export(root: Path, by: str, format: str, to: Path) -> list[Path]:
    """Write one file of numbers for each value of the column `by`; give the files.

    Raises:
        UnknownName: there is no such column.
        UserError: the folder holds no finished run, or xlsx is wanted and openpyxl is not installed.
    """
    rows = numbers(root)
    if by not in rows:
        raise UnknownName("column", by, map(str, rows.columns))
    paths = []
    for value, group in rows.groupby(by, dropna=False):
        path = to / f"{_file_name(str(value))}.{format}"
        write_bytes(path, _encoded(group.dropna(axis="columns", how="all"), format))
        paths.append(path)
    return paths


def _encoded(frame: pd.DataFrame, format: str) -> bytes:
    buffer = io.BytesIO()
    if format == "parquet":
        frame.apply(_of_one_type).to_parquet(buffer, index=False)
    elif format == "xlsx":
        _to_excel(frame.map(inert), buffer)
    else:
        frame.map(inert).to_csv(buffer, index=False)
    return buffer.getvalue()


def _of_one_type(column: pd.Series) -> pd.Series:
    """Write everything out where numbers and words stand in one column, as Parquet wants it."""
    return column.astype("string") if column.dtype == object else column


def _to_excel(frame: pd.DataFrame, buffer: io.BytesIO) -> None:
    try:
        frame.to_excel(buffer, index=False)
    except ImportError as error:
        raise UserError("xlsx is written by the package openpyxl: `pip install openpyxl`, or take csv") from error


def _file_name(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", value) or "none"


def _finished(root: Path) -> tuple[list[Result], list[Result]]:
    """Give the runs of methods and those of recipes."""
    found = Store(root).runs()
    runs = [result for result in found if not result.method.startswith("recipe/")]
    pooled = [result for result in found if result.method.startswith("recipe/")]
    if not runs:
        raise UserError(f"wanted a folder with finished runs (runs/*/result.json), found none in {root}")
    return runs, pooled


def _added(pooled: Sequence[Result], runs: Sequence[Result]) -> list[Result]:
    """Leave out of what recipes pooled the numbers of the runs themselves."""
    known = {_identity(number) for run in runs for number in run.numbers}
    return [
        replace(result, numbers=[number for number in result.numbers if _identity(number) not in known])
        for result in pooled
    ]


def _identity(number: Number) -> str:
    return json.dumps(asdict(number), sort_keys=True)


def _rows(results: Sequence[Result]) -> pd.DataFrame:
    return pd.concat([_of_one(result) for result in results], ignore_index=True)


def _of_one(result: Result) -> pd.DataFrame:
    asked = {f"setting_{name}": str(value) for name, value in result.settings.items()}
    return result.to_pandas().assign(method=result.method, **asked)
