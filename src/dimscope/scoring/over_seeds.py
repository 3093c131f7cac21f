"""Numbers averaged over seeds: mean with its interval, and standard deviation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from dimscope.core.result import Number
from dimscope.numerics.resampling import mean_interval

INDEX = "index"
"""The unit of a number that names something (a dimension); the mean of such names means nothing."""


def over_seeds(numbers: Iterable[Number]) -> list[Number]:
    """Average the numbers that differ in their seed alone.

    Each mean stands at `seed="all", statistic="mean"` with Student's 95 % interval, each sample standard deviation
    at `statistic="standard deviation"`; with one seed there is that number with the interval it had.

    >>> two = [Number(name="accuracy", value=v, where={"seed": s}) for s, v in enumerate([0.5, 0.7])]
    >>> [round(number.value, 3) for number in over_seeds(two)]
    [0.6, 0.141]
    """
    groups = defaultdict(list)
    for number in numbers:
        if number.unit != INDEX:
            place = {key: value for key, value in number.where.items() if key != "seed"}
            groups[number.name, tuple(sorted(place.items()))].append(number)
    return [average for (_, place), group in groups.items() for average in _averages(group, dict(place))]


def _averages(group: Sequence[Number], place: dict[str, str | int | float]) -> list[Number]:
    values = np.array([number.value for number in group])
    several = len(values) > 1
    mean = replace(
        group[0],
        value=float(values.mean()),
        interval=mean_interval(values) if several else group[0].interval,
        where={**place, "seed": "all", "statistic": "mean"},
    )
    spread = replace(
        group[0],
        value=float(values.std(ddof=1)) if several else float("nan"),
        better=None,
        interval=None,
        where={**place, "seed": "all", "statistic": "standard deviation"},
    )
    return [mean, spread] if several else [mean]
