"""What came out of a method: named numbers, arrays with named axes, and where all of it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from dimscope.core.errors import UnknownName

SCHEMA = 1

Place = Mapping[str, str | int | float]


@dataclass(frozen=True, kw_only=True)
class Number:
    """One named number.

    `better` says which direction is good (None: neither), `interval` is the 95 % interval where there is one,
    `where` tells what it is the number of: model, task, seed, weights and whatever the method adds (layer, control, …).
    """

    name: str
    value: float
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    interval: tuple[float, float] | None = None
    where: Place = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Counts come as int or as NumPy's types; one type alone is stored, compared and printed.
        object.__setattr__(self, "value", float(self.value))

    @property
    def low(self) -> float:
        """The lower end of the interval; the value itself where there is none."""
        return self.interval[0] if self.interval else self.value

    @property
    def high(self) -> float:
        """The upper end of the interval; the value itself where there is none."""
        return self.interval[1] if self.interval else self.value

    @property
    def ends(self) -> dict[str, float]:
        """The ends of the interval as columns of a table or chart; NaN where there is none."""
        low, high = self.interval or (np.nan, np.nan)
        return {"low": low, "high": high}


@dataclass(frozen=True)
class Array:
    """Values with one name per axis, and a label for each place of an axis where those are not just 0, 1, 2, …"""

    values: np.ndarray
    axes: tuple[str, ...]
    unit: str = ""
    ticks: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values.ndim != len(self.axes):
            raise ValueError(
                f"{self.values.ndim} dimensions of shape {self.values.shape} cannot bear the axes {self.axes}"
            )
        for axis, labels in self.ticks.items():
            if len(labels) != self.values.shape[self.axes.index(axis)]:
                raise ValueError(
                    f"axis {axis!r} has {self.values.shape[self.axes.index(axis)]} places, not {len(labels)}"
                )


@dataclass(frozen=True, kw_only=True)
class Result:
    """The numbers and arrays of one run of one method on one bench.

    A method fills `numbers`, `arrays`, `notes` (caveats for the reader) and, if it trained, `checkpoint` (the hash
    under which the store keeps it). Running it through `dimscope.run` adds the rest.

    >>> result = Result(numbers=[Number(name="accuracy", value=0.5, where={"seed": 1})])
    >>> result.value("accuracy", seed=1)
    0.5
    """

    numbers: Sequence[Number]
    arrays: Mapping[str, Array] = field(default_factory=dict)
    notes: Sequence[str] = ()
    checkpoint: str | None = None
    method: str = ""
    sources: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    bench: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def number(self, name: str, **where: str | int | float) -> Number:
        """Give the one number of that name at that place.

        Raises:
            UnknownName: there is no number of that name.
            LookupError: the name stands at no such place, or at several.
        """
        named = [number for number in self.numbers if number.name == name]
        if not named:
            raise UnknownName("number", name, sorted({number.name for number in self.numbers}))
        found = [number for number in named if where.items() <= dict(number.where).items()]
        if len(found) != 1:
            places = [dict(number.where) for number in named]
            raise LookupError(f"{len(found)} numbers {name!r} stand at {where}; they stand at {places}")
        return found[0]

    def value(self, name: str, **where: str | int | float) -> float:
        """Give the value of the one number of that name at that place."""
        return self.number(name, **where).value

    def only(self, **where: str | int | float) -> Result:
        """Give the numbers alone that stand at such places; none if there are none.

        >>> result = Result(numbers=[Number(name="accuracy", value=0.5, where={"part": part}) for part in "ab"])
        >>> [dict(number.where) for number in result.only(part="b").numbers]
        [{'part': 'b'}]
        """
        return Result(numbers=[each for each in self.numbers if where.items() <= dict(each.where).items()])

    def at(self, place: Place) -> Result:
        """Give the same result with `place` added to where each number stands."""
        return replace(self, numbers=[replace(number, where={**place, **number.where}) for number in self.numbers])

    def to_pandas(self) -> pd.DataFrame:
        """Give one row per number, and a column for each part of its place."""
        return table(self.numbers)


def table(numbers: Sequence[Number]) -> pd.DataFrame:
    """Lay numbers out as one row each: place, name, value, low and high end of the interval, unit, better."""
    rows = [
        {
            **number.where,
            "name": number.name,
            "value": number.value,
            **number.ends,
            "unit": number.unit,
            "better": number.better,
        }
        for number in numbers
    ]
    return pd.DataFrame(rows)
