"""Classes as numbers 0, 1, … out of values as they stand in files: whole numbers or names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from dimscope.core.errors import UserError

Labels = Int64[np.ndarray, " _sentences"]

_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")


def number_classes(train: Sequence[Any], *others: Sequence[Any]) -> tuple[tuple[str, ...], list[Labels]]:
    """Give the names of the classes in their order and, for every split, each sentence's class as its place therein.

    Whole numbers are ordered as numbers, be they written as 1, "1" or 1.0; everything else by name.

    >>> number_classes(["10", "9", "10"])
    (('9', '10'), [array([1, 0, 1])])

    Raises:
        UserError: there is a single class, one that the training data lack, or the values are real numbers.
    """
    values = _meant([value for split in (train, *others) for value in split])
    classes = sorted(set(values[: len(train)]))
    _require_classes(classes, set(values[len(train) :]))
    place = {each: number for number, each in enumerate(classes)}
    labels = np.array([place[value] for value in values], np.int64)
    ends = np.cumsum([len(train), *map(len, others)])
    return tuple(map(str, classes)), np.split(labels, ends[:-1])


def _meant(values: Sequence[Any]) -> list[Any]:
    """Give all values as whole numbers, or all as names."""
    names = [str(value).strip() for value in values]
    if all(_WHOLE.fullmatch(name) for name in names):
        return [int(name.partition(".")[0]) for name in names]
    if all(_is_real(name) for name in names):
        fraction = next(name for name in names if not _WHOLE.fullmatch(name))
        raise UserError(
            f"the classes hold real numbers such as {fraction}, which look like grades: wanted whole numbers or "
            "names. Cut them into classes first, or choose another column with --label-column"
        )
    return names


def _is_real(name: str) -> bool:
    try:
        return math.isfinite(float(name))
    except ValueError:
        return False


def _require_classes(classes: Sequence[Any], others: set[Any]) -> None:
    unseen = [repr(each) for each in sorted(others - set(classes))]
    if unseen:
        raise UserError(f"the validation data have classes that the training data lack: {', '.join(unseen)}")
    if len(classes) < 2:
        raise UserError(f"all training sentences are of one class, {classes[0]!r}: there is nothing to tell apart")
