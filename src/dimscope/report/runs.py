"""The page of single runs: for each its numbers, and its arrays drawn by the names of their axes.

Layer against head or token is a heat map, a dose gives curves, values by layer a line; an array of any other kind, or
of more places than a page can show, is named with its shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from dimscope.core.result import Array, Number, Result, table
from dimscope.report.inside import by_layer, dose_response, heat_map
from dimscope.report.names import readable
from dimscope.report.page import Figure, Page, Section, Table
from dimscope.report.tables import cell
from dimscope.report.theme import Chart

_MOST_ROWS, _MOST_COLUMNS, _MOST_MAPS = 64, 40, 6
_BENCH = ("model", "task", "seed", "weights")
_QUESTION = "What came out of the runs in this folder?"


def runs_page(results: Sequence[Result]) -> Page:
    """Lay the runs out one after the other, in the given order.

    >>> run = Result(numbers=[Number(name="accuracy", value=0.5, where={"model": "bert"})], method="measure/x")
    >>> [section.title for section in runs_page([run]).sections]
    ['1. measure/x: bert']
    """
    sections = [_section(number, result) for number, result in enumerate(results, start=1)]
    return Page(
        title="Runs",
        question=_QUESTION,
        answers={},
        sections=sections,
        sources=list(dict.fromkeys(source for result in results for source in result.sources)),
    )


def _section(number: int, result: Result) -> Section:
    name = f"{number}-{result.method.replace('/', '-')}"
    figures = [figure for key, array in result.arrays.items() for figure in _figures(f"{name}-{key}", key, array)]
    drawn = {figure.name for figure in figures}
    others = [
        f"Not drawn: {readable(key)}, an array of {_shape(array)}."
        for key, array in result.arrays.items()
        if not any(figure.startswith(f"{name}-{key}") for figure in drawn)
    ]
    settings = [f"Settings: {', '.join(f'{readable(key)} {value}' for key, value in result.settings.items())}."]
    first = result.numbers[0].where if result.numbers else {}
    bench = ", ".join(str(first[part]) for part in _BENCH if part in first)
    numbers = Table(name, _rows(result.numbers), "The numbers of the run.", exact=table(result.numbers))
    text = [*(settings if result.settings else []), *result.notes, *others]
    return Section(f"{number}. {result.method}: {bench}", text, [numbers] if result.numbers else [], "", figures)


def _rows(numbers: Sequence[Number]) -> pd.DataFrame:
    """A row for each number: its name, where it stands within the run, and the cell."""
    places = [part for part in dict.fromkeys(part for each in numbers for part in each.where) if part not in _BENCH]
    rows = [
        {
            "number": readable(each.name),
            **{readable(part): str(each.where.get(part, "")) for part in places},
            "value": cell(each.value, each.interval, unit=each.unit),
        }
        for each in numbers
    ]
    return pd.DataFrame(rows)


def _figures(name: str, key: str, array: Array) -> Iterator[Figure]:
    """The pictures of an array; one for each place of its first axis, if it has three."""
    if not np.isfinite(array.values).any():
        return
    if array.values.ndim == 3 and array.values.shape[0] <= _MOST_MAPS:
        for place, label in enumerate(_ticks(array, 0)):
            inner = {axis: ticks for axis, ticks in array.ticks.items() if axis != array.axes[0]}
            part = Array(array.values[place], array.axes[1:], array.unit, inner)
            yield from _figures(f"{name}-{place}", f"{readable(key)}: {array.axes[0]} {label}", part)
    elif (chart := _chart(readable(key), array)) is not None:
        yield Figure(name, chart, f"{readable(key)}, by {' and '.join(array.axes)}.")


def _chart(title: str, array: Array) -> Chart | None:
    measure = array.unit or title.split(":")[0]
    if array.axes == ("layer",):
        points = _points(array.values[None], range(len(array.values)), [title], "layer")
        return by_layer(points, measure=measure, title=title)
    if array.values.ndim == 2 and array.axes[1] == "dose":
        doses = [float(tick) for tick in _ticks(array, 1)]
        points = _points(array.values, doses, _ticks(array, 0), "dose")
        return dose_response(points, dose_title="dose", measure=measure, title=title)
    if array.values.ndim == 2 and array.values.shape[0] <= _MOST_ROWS and array.values.shape[1] <= _MOST_COLUMNS:
        return _map(title, measure, array)
    return None


def _map(title: str, measure: str, array: Array) -> Chart:
    """A heat map; layers stand as in a network, the last one on top."""
    turn = slice(None, None, -1 if array.axes[0] == "layer" else 1)
    return heat_map(
        array.values.astype(float)[turn],
        rows=_ticks(array, 0)[turn],
        columns=_ticks(array, 1),
        row_title=array.axes[0],
        column_title=array.axes[1],
        measure=measure,
        title=title,
    )


def _points(curves: np.ndarray, places: Sequence[float], groups: Sequence[str], axis: str) -> pd.DataFrame:
    return pd.DataFrame(
        {axis: place, "value": float(value), "low": np.nan, "high": np.nan, "group": group}
        for group, curve in zip(groups, curves, strict=True)
        for place, value in zip(places, curve, strict=True)
    )


def _shape(array: Array) -> str:
    return " × ".join(f"{size} {axis}s" for size, axis in zip(array.values.shape, array.axes, strict=True))


def _ticks(array: Array, axis: int) -> list[str]:
    return [str(each) for each in array.ticks.get(array.axes[axis], range(array.values.shape[axis]))]
