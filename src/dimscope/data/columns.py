"""Which columns of a table hold the texts and the class, and their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from dimscope.core.errors import UnknownName, UserError
from dimscope.data.files import Table
from dimscope.data.options import TaskOptions
from dimscope.data.task import Split

_PAIRS = (
    ("sentence1", "sentence2"),
    ("question", "sentence"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
)
_TEXTS = (("text",), ("sentence",), ("review",), ("content",))
_CLASSES = (("label",), ("labels",), ("class",), ("target",), ("sentiment",))


def text_columns(columns: Sequence[str], options: TaskOptions) -> tuple[str, ...]:
    """Give the column of the text, or the two of a pair: as asked for, else by their usual names in any case.

    >>> text_columns(["id", "Premise", "Hypothesis", "label"], TaskOptions())
    ('Premise', 'Hypothesis')

    Raises:
        UnknownName: there is no column of the name that was asked for.
        UserError: no column has a usual name, or several have.
    """
    asked = tuple(name for name in (options.text_column, options.pair_column) if name)
    if asked:
        if not options.text_column:
            raise UserError("a pair needs both columns: choose the first with --text-column")
        return _known(columns, asked)
    found = _by_usual_name(columns, _PAIRS) or _by_usual_name(columns, _TEXTS)
    return _the_one(found, columns, "text", "--text-column (and --pair-column)")


def class_column(columns: Sequence[str], options: TaskOptions) -> str:
    """Give the column of the class: as asked for, else by its usual name in any case.

    >>> class_column(["text", "Sentiment"], TaskOptions())
    'Sentiment'

    Raises:
        UnknownName: there is no column of the name that was asked for.
        UserError: no column has a usual name, or several have.
    """
    if options.label_column:
        return _known(columns, (options.label_column,))[0]
    return _the_one(_by_usual_name(columns, _CLASSES), columns, "class", "--label-column")[0]


def to_split(table: Table, columns: Sequence[str], labels: Int64[np.ndarray, " sentences"]) -> Split:
    """Give the texts of one column, or the pairs of two, with their classes. Numbers are written out.

    Raises:
        UnknownName: there is no such column.
        UserError: a text is missing, or is neither text nor number; an empty text is one.
    """
    first, *second = (_texts(table, column) for column in columns)
    return Split(first, labels, second[0] if second else None)


def class_values(table: Table, column: str) -> Sequence[Any]:
    """Give a column's values, none of which is missing or blank.

    Raises:
        UnknownName: there is no such column.
        UserError: a value is missing.
    """
    return _values(table, column, lambda value: value is None or value != value or not str(value).strip())


def _texts(table: Table, column: str) -> tuple[str, ...]:
    values = _values(table, column, lambda value: value is None or value != value)
    for row, value in enumerate(values, 1):
        if not isinstance(value, str | int | float):
            raise UserError(f"wanted a text in row {row} of the column {column!r}, got {value!r}")
    return tuple(map(str, values))


def _values(table: Table, column: str, is_missing: Callable[[Any], bool]) -> Sequence[Any]:
    values = table.columns[_known(list(table.columns), (column,))[0]]
    missing = [row for row, value in enumerate(values, 1) if is_missing(value)]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(values)} rows have no value in the column {column!r}; the first is row "
            f"{missing[0]} after the header. Fill them in, or leave these rows out"
        )
    return values


def _known(columns: Sequence[str], asked: tuple[str, ...]) -> tuple[str, ...]:
    for name in asked:
        if name not in columns:
            raise UnknownName("column", name, columns)
    return asked


def _by_usual_name(columns: Sequence[str], usual: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    by_name = {name.strip().lower(): name for name in columns}
    return [tuple(by_name[name] for name in names) for names in usual if by_name.keys() >= set(names)]


def _the_one(found: list[tuple[str, ...]], columns: Sequence[str], what: str, flag: str) -> tuple[str, ...]:
    if len(found) != 1:
        raise UserError(
            f"wanted one column that is known to hold the {what}, found {len(found)} among the columns "
            f"{', '.join(map(repr, columns))}: choose with {flag}"
        )
    return found[0]
