"""Tables in files as columns of plain values: CSV, TSV, JSONL and Parquet; None stands for what is missing.

Cells of CSV and TSV stay text, so that a text "NA" is that text and no missing value. CSV is quoted as usual: line
breaks may stand inside quotes, and a doubled quote is one. TSV is written by some with quoting and by others
without: it is read with it, unless rows then have more or fewer cells than the header, or quotes swallow the end of
what are whole rows without them; then a quote is a character like any other, and a note tells so.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import ArrowException
from pyarrow.parquet import ParquetFile

from dimscope.core.errors import UserError

_ENCODINGS = ("utf-8-sig", "cp1252", "latin-1")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Table:
    """Columns of equal length by their names, and notes on how they were read."""

    columns: Mapping[str, Sequence[Any]]
    notes: tuple[str, ...] = ()


def read_table(path: Path) -> Table:
    """Read a table by the suffix of its file.

    Raises:
        UserError: there is no such file, its suffix is none of the four, it is damaged, or it holds no rows.
    """
    _require_file(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path} is of no known kind: wanted a file that ends with {', '.join(_READERS)}")
    return reader(path)


def read_unquoted(path: Path) -> Table:
    """Read TSV in which a quote is a character like any other; rows with too few or too many cells are left out.

    Raises:
        UserError: there is no such file, or it holds no rows.
    """
    _require_file(path)
    text, notes = _decoded(path)
    header, *rows = _unquoted(text)
    whole = [row for row in rows if len(row) == len(header)]
    if len(whole) < len(rows):
        notes = (*notes, f"{path.name}: {len(rows) - len(whole)} rows with missing or surplus cells are left out")
    return Table(_columns(path, [header, *whole]), notes)


def _csv(path: Path) -> Table:
    text, notes = _decoded(path)
    try:
        return Table(_columns(path, _quoted(text, ",")), notes)
    except csv.Error as error:
        raise UserError(f"{path} is no proper CSV: {error}. See whether every quote is closed") from error


def _tsv(path: Path) -> Table:
    text, notes = _decoded(path)
    plain = _unquoted(text)
    try:
        rows = _quoted(text, "\t")
    except csv.Error:
        rows = plain
    if not _is_even(rows) or (_is_even(plain) and len(plain) > len(rows)):
        rows = plain
    if rows is plain and '"' in text:
        notes = (*notes, f"{path.name}: quotes are read as characters like any other")
    return Table(_columns(path, rows), notes)


def _jsonl(path: Path) -> Table:
    text, notes = _decoded(path)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    rows = [_json_object(path, number, line) for number, line in lines]
    names = dict.fromkeys(name for row in rows for name in row)
    header = [list(names)] if rows else []
    return Table(_columns(path, [*header, *([row.get(name) for name in names] for row in rows)]), notes)


def _parquet(path: Path) -> Table:
    try:
        with ParquetFile(path) as file:
            table = file.read()
    except ArrowException as error:
        raise UserError(f"{path} is no proper Parquet file: {error}") from error
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return Table(_columns(path, [table.column_names, *map(list, rows)]))


_READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
SUFFIXES = tuple(_READERS)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"there is no file {path}")


def _decoded(path: Path) -> tuple[str, tuple[str, ...]]:
    """Give a file's text, and a note where it is not UTF-8."""
    data = path.read_bytes()
    for encoding in ("utf-16",) * data.startswith(_UTF16) + _ENCODINGS:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        break
    return text, () if encoding == _ENCODINGS[0] else (f"{path.name} is not UTF-8 and is read as {encoding}",)


def _quoted(text: str, delimiter: str) -> list[list[str]]:
    with _cells_of_any_length():
        return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]


def _unquoted(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.replace("\r\n", "\n").split("\n") if line]


def _is_even(rows: Sequence[Sequence[str]]) -> bool:
    return len({len(row) for row in rows}) == 1


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=_Pairs)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"line {number} of {path} is no JSON: {error}") from error
    if not isinstance(row, _Pairs):
        raise UserError(f"line {number} of {path} is no JSON object: wanted {{column: value, …}} on every line")
    _require_distinct(path, [name for name, _ in row])
    return dict(row)


class _Pairs(list[tuple[str, Any]]):
    """The names and values of a JSON object as they stand; a dict would drop what is there twice."""


def _require_distinct(path: Path, names: Sequence[str]) -> None:
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise UserError(f"{path} has several columns named {', '.join(map(repr, repeated))}: rename them")


def _columns(path: Path, rows: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Turn a header and rows into columns."""
    if len(rows) < 2:
        raise UserError(f"{path} holds {'a header and no rows' if rows else 'nothing'}")
    header, *body = rows
    _require_distinct(path, header)
    for number, row in enumerate(body, 1):
        if len(row) != len(header):
            raise UserError(f"row {number} of {path} has {len(row)} cells, but its header has {len(header)}")
    return dict(zip(header, zip(*body, strict=True), strict=True))
