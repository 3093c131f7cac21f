"""The best classifier that sees one dimension and knows nothing but thresholds, for every dimension at once.

The 1-D classifier of Rudman, Chen & Eickhoff 2023 (2310.17715, equation 1) says 0 if x ≤ mean + ε and else 1,
or the other way around. `grid_thresholds` is their search, ε = −50, −49.5, …, 50, first maximum kept.
`exact_thresholds` finds the best of all thresholds, so that its accuracy does not depend on a dimension's
scale; it takes any number of classes, with as many intervals.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from dimscope.core.errors import UserError
from dimscope.numerics.binned_cuts import best_gaps
from dimscope.numerics.cuts import best_cut, best_cuts, cut_at, lead_by_place
from dimscope.numerics.finite import require_finite
from dimscope.numerics.sorting import sorted_with_labels

GRID = np.linspace(-50.0, 50.0, 201)
"""The ε of equation 1, in the unit of the states."""

BINNED_FROM = 4096
"""From so many sentences on, two classes are counted in bins; fewer are sorted sooner."""

BLOCK_ENTRIES = 2**21
"""States times classes that a thread works on at a time."""

TRANSPOSED_ROWS = 512
"""Sentences transposed at a time: their lines of memory stay in the first caches until all are used."""

ROWS_AT_ONCE = 4096
"""Sentences whose predictions `Rules.accuracy` holds at a time."""

States = Float[np.ndarray, "sentences dims"]
Labels = Int[np.ndarray, " sentences"]


@dataclass(frozen=True)
class Rules:
    """One rule per dimension: a value above exactly i of its thresholds is of class i of its intervals.

    Thresholds ascend; an interval that is not needed ends at −inf. `train_accuracy` is a fraction.
    """

    thresholds: Float[np.ndarray, "dims cuts"]
    classes: Int[np.ndarray, "dims intervals"]
    train_accuracy: Float[np.ndarray, " dims"]

    def predict(self, states: States) -> Int[np.ndarray, "sentences dims"]:
        """Give the class that each dimension's rule says.

        Raises:
            UserError: a state is not finite, or has not as many dimensions as there are rules.
        """
        num_dims = len(self.thresholds)
        if states.shape[1] != num_dims:
            raise UserError(f"these rules are for {num_dims} dimensions, and the states have {states.shape[1]}")
        require_finite(states, "states")
        interval = np.zeros(states.shape, dtype=np.intp)
        for threshold in self.thresholds.T:
            interval += states > threshold
        return self.classes[np.arange(num_dims), interval]

    def accuracy(self, states: States, labels: Labels) -> Float[np.ndarray, " dims"]:
        """Give the fraction of sentences that each dimension's rule gets right.

        Raises:
            UserError: as `predict`, or there is no sentence, or not one label for each.
        """
        _check_lengths(states, labels)
        num_right = np.zeros(len(self.thresholds), dtype=np.int64)
        for start in range(0, len(states), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            num_right += (self.predict(states[rows]) == labels[rows, None]).sum(axis=0)
        return num_right / len(states)

    def select(self, dims: Sequence[int] | Int[np.ndarray, " chosen"]) -> Rules:
        """Give the rules of these dimensions alone, in this order."""
        chosen = np.asarray(dims, dtype=int)
        return Rules(self.thresholds[chosen], self.classes[chosen], self.train_accuracy[chosen])


def exact_thresholds(states: States, labels: Labels, num_classes: int) -> Rules:
    """Find the best thresholds and classes of every dimension; the lowest threshold where several are best.

    A threshold lies halfway between two neighboring values that occur. A rule that always says the same is
    among the candidates (threshold −inf), so `train_accuracy` is never below the majority's.

    Raises:
        UserError: no sentence, not one label for each, a label that is no class, or a state not finite.

    >>> states = np.array([[1.0, 7.0], [2.0, 5.0], [3.0, 8.0]], dtype=np.float32)
    >>> rules = exact_thresholds(states, np.array([0, 0, 1]), num_classes=2)
    >>> rules.thresholds.tolist(), rules.classes.tolist(), rules.train_accuracy.tolist()
    ([[2.5], [7.5]], [[0, 1], [0, 1]], [1.0, 1.0])
    """
    _check(states, labels, num_classes)
    if num_classes == 2 and len(states) >= BINNED_FROM:
        return _in_blocks(partial(_by_bins, labels=labels), states, len(states) // 2)
    search = best_cut if num_classes == 2 else partial(best_cuts, num_classes=num_classes)

    def learn(block: States) -> Rules:
        values, sorted_labels = sorted_with_labels(_transposed(block), labels)
        cuts = search(sorted_labels, _places_between(values))
        return Rules(_thresholds(values, cuts.places), cuts.classes, cuts.num_right / len(labels))

    return _in_blocks(learn, states, len(states) * num_classes)


def grid_thresholds(states: States, labels: Labels) -> Rules:
    """Find the best threshold mean + ε and its direction, for two classes; the lowest of several best.

    The steps are absolute: a dimension that varies by less than 0.5 has little but its mean to choose from.

    Raises:
        UserError: as `exact_thresholds` for two classes.

    >>> grid_thresholds(np.array([[0.0], [2.0]]), np.array([1, 0])).thresholds.tolist()
    [[0.0]]
    """
    if labels.max(initial=0) > 1:
        raise UserError(f"the grid rule is for two classes, 0 and 1, and label {labels.max()} came: take the exact one")
    _check(states, labels, 2)

    def learn(block: States) -> Rules:
        values, sorted_labels = sorted_with_labels(_transposed(block), labels)
        thresholds = values.mean(axis=1, keepdims=True) + GRID
        rows = zip(values, thresholds, strict=True)
        places = np.stack([np.searchsorted(value, threshold, side="right") for value, threshold in rows])
        leads = lead_by_place(sorted_labels)
        best = np.abs(np.take_along_axis(leads, places, axis=1)).argmax(axis=1)[:, None]
        cuts = cut_at(np.take_along_axis(places, best, axis=1)[:, 0], leads)
        chosen = np.take_along_axis(thresholds, best, axis=1)
        return Rules(chosen, cuts.classes, cuts.num_right / len(labels))

    return _in_blocks(learn, states, 2 * len(states))


def _by_bins(block: States, labels: Labels) -> Rules:
    gaps = best_gaps(_transposed(block), labels)
    below, above, leads = (each[:, None] for each in gaps)
    num_right = (len(labels) + np.abs(gaps.lead)) // 2
    return Rules(_halfway(below, above), np.where(leads >= 0, [0, 1], [1, 0]), num_right / len(labels))


def _transposed(block: States) -> Float[np.ndarray, "dims sentences"]:
    values = np.empty(block.shape[::-1], dtype=np.promote_types(block.dtype, np.float32))
    for start in range(0, len(block), TRANSPOSED_ROWS):
        rows = slice(start, start + TRANSPOSED_ROWS)
        values[:, rows] = block[rows].T
    return values


def _places_between(values: Float[np.ndarray, "dims sentences"]) -> np.ndarray:
    """Tell where a cut can lie: before all values, and wherever a value is larger than the one before it."""
    places = np.zeros((len(values), values.shape[1] + 1), dtype=bool)
    places[:, 0] = True
    np.greater(values[:, 1:], values[:, :-1], out=places[:, 1:-1])
    return places


def _thresholds(values: np.ndarray, places: Int[np.ndarray, "dims cuts"]) -> Float[np.ndarray, "dims cuts"]:
    below, above = (np.take_along_axis(values, np.maximum(each, 0), axis=1) for each in (places - 1, places))
    return np.where(places == 0, -np.inf, _halfway(below, above))


def _halfway(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    halfway = below / 2 + above / 2
    # Between neighboring floats it may round to the upper value, which must stay above the threshold.
    return np.where(halfway < above, halfway, below)


def _in_blocks(learn: Callable[[States], Rules], states: States, entries_per_dim: int) -> Rules:
    """Learn the rules of a few dimensions at a time, in threads: sorting and sums release Python's lock."""
    width = max(1, BLOCK_ENTRIES // entries_per_dim)
    blocks = [states[:, start : start + width] for start in range(0, states.shape[1], width)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        parts = list(threads.map(learn, blocks))
    return Rules(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Rules)))


def _check(states: States, labels: Labels, num_classes: int) -> None:
    _check_lengths(states, labels)
    if labels.min() < 0 or labels.max() >= num_classes:
        raise UserError(
            f"labels of {num_classes} classes are 0 … {num_classes - 1}; {labels.min()} … {labels.max()} came"
        )
    require_finite(states, "states")


def _check_lengths(states: States, labels: Labels) -> None:
    if states.size == 0 or len(states) != len(labels):
        raise UserError(f"wanted states and a label for each; came shapes {states.shape} and {labels.shape}")
