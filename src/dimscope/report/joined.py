"""Several studies of one recipe as one: all of their rows, and the settings that they do not share as a caveat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dimscope.core.errors import UserError
from dimscope.core.result import Number, Result
from dimscope.report.page import as_text

ASKED = ("models", "tasks", "seeds")
"""What a study was asked about: the whole is about all of it. Other settings should agree."""


def joined(results: Mapping[str, Result]) -> Result:
    """Join the pooled results of studies, each under the name of its study.

    Settings that differ are told in a note instead. What two studies both found (of a small model, say, that each
    trained alike) stands once. Numbers over all tasks are left out: with more tasks they are others, and whoever pooled
    them pools them again.

    Raises:
        UserError: two studies tell different numbers of one model and task.

    >>> asked = {"seeds": [1]}
    >>> a, b = (Result(numbers=[], settings={**asked, "limit": limit}) for limit in (9, 8))
    >>> both = joined({"a": a, "b": b})
    >>> both.settings, both.notes
    ({'seeds': [1]}, ['The studies differ in limit: 9 in a, 8 in b.'])
    """
    _require_agreeing(results)
    every = list(results.values())
    settings = {name: {k: v for k, v in result.settings.items() if k not in ASKED} for name, result in results.items()}
    notes = [*(note for result in every for note in result.notes), *_differences(settings)]
    return Result(
        numbers=_once(number for result in every for number in result.numbers if number.where.get("task") != "all"),
        arrays={name: array for result in every for name, array in result.arrays.items()},
        notes=list(dict.fromkeys(notes)),
        method=every[0].method,
        sources=list(dict.fromkeys(source for result in every for source in result.sources)),
        settings={**_union(every), **_shared(list(settings.values()))},
        bench={"benches": _once(bench for result in every for bench in result.bench.get("benches", []))},
        provenance={name: result.provenance for name, result in results.items()},
    )


def _require_agreeing(results: Mapping[str, Result]) -> None:
    told: dict[tuple[Any, Any], dict[str, list[Number]]] = {}
    for name, result in results.items():
        for number in result.numbers:
            place = number.where.get("model"), number.where.get("task")
            told.setdefault(place, {}).setdefault(name, []).append(number)
    for (model, task), by_study in told.items():
        if task != "all" and len(set(map(repr, by_study.values()))) > 1:
            raise UserError(
                f"{' and '.join(by_study)} tell different numbers of {model} on {task}, and a page has room for one of "
                "each: report those studies apart"
            )


def _once(things: Iterable[Any]) -> list[Any]:
    """Give what is written alike once; not what is equal, for NaN is not."""
    return list({repr(each): each for each in things}.values())


def _union(results: Sequence[Result]) -> dict[str, list[Any]]:
    """Everything that any of the studies was asked about."""
    return {
        key: list(dict.fromkeys(value for result in results for value in result.settings[key]))
        for key in ASKED
        if all(key in result.settings for result in results)
    }


def _shared(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings that are the same in all, groups of them without what differs."""
    shared: dict[str, Any] = {}
    for key, value in settings[0].items():
        values = [each.get(key) for each in settings]
        groups = [each for each in values if isinstance(each, Mapping)]
        if len(groups) == len(values):
            shared[key] = _shared(groups)
        elif all(each == value for each in values):
            shared[key] = value
    return shared


def _differences(settings: Mapping[str, Mapping[str, Any]], group: str = "") -> Iterator[str]:
    """A sentence for each setting that is not the same in all."""
    for key in dict.fromkeys(key for each in settings.values() for key in each):
        values = {name: each.get(key) for name, each in settings.items()}
        groups = {name: value for name, value in values.items() if isinstance(value, Mapping)}
        if len(groups) == len(values):
            yield from _differences(groups, f"{group}{key}.")
        elif len({repr(value) for value in values.values()}) > 1:
            told = ", ".join(f"{as_text(value)} in {name}" for name, value in values.items())
            yield f"The studies differ in {group}{key}: {told}."
