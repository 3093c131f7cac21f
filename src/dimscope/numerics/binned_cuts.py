"""Where to cut dimensions of two classes, exactly, sorting only the few values near each one's best cut.

The values of a dimension are counted by class in bins of equal width. Between bins the lead of a cut (right minus
wrong answers of '0 below, 1 above') is then known, and inside a bin it rises by no more than twice the bin's zeros and
falls by no more than twice its ones. Bins in which it cannot reach the best lead between bins are left out; the values
of the others, the hot ones, are sorted. This is branch and bound with one level (Land & Doig 1960, Econometrica
28(3):497), and its answer is that of a sort of everything: rounding is monotone, so that no larger value falls into a
lower bin, and equal ones share theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

SENTENCES_PER_BIN = 16
"""More leave more values to sort, fewer take more counters."""

MOST_BINS = 4096
"""As many counters of each class as a processor's first caches hold."""

SAMPLE, FAR_SHARE = 1024, 4
"""How many values of a dimension tell its spread, and how many at either end do not widen the bins."""

COUNTED_ENTRIES = 2**20
"""Values counted at a time: the keys of so many stay in the last cache."""

Values = Float[np.ndarray, "dims sentences"]
Keys = Int[np.ndarray, "dims sentences"]
Labels = Int[np.ndarray, " sentences"]


class Gaps(NamedTuple):
    """The neighboring values between which to cut each dimension (−inf twice: below all), and the lead there."""

    below: Float[np.ndarray, " dims"]
    above: Float[np.ndarray, " dims"]
    lead: Int[np.ndarray, " dims"]


class _Counts(NamedTuple):
    """The values of each class in each bin, and the lead of a cut before and after the bin."""

    zeros: Int[np.ndarray, "dims bins"]
    ones: Int[np.ndarray, "dims bins"]
    before: Int[np.ndarray, "dims bins"]
    after: Int[np.ndarray, "dims bins"]


def best_gaps(values: Values, labels: Labels) -> Gaps:
    """Find for each dimension where the lead is farthest from 0; the lowest such place.

    The sign of the lead tells which class lies above: 1 if it is not negative.

    >>> best_gaps(np.array([[4.0, 1.0, 3.0, 2.0]]), np.array([1, 0, 1, 0]))
    Gaps(below=array([2.]), above=array([3.]), lead=array([4]))
    """
    num_dims, num_sentences = values.shape
    num_bins = int(np.clip(num_sentences // SENTENCES_PER_BIN, 1, MOST_BINS))
    at_once = min(num_dims, max(1, COUNTED_ENTRIES // num_sentences))
    # Used again for every few dimensions: new memory would take longer than what is done in it.
    keys = np.empty((at_once, num_sentences), dtype=np.intp)
    places = np.empty((at_once, num_sentences), dtype=values.dtype)
    first_keys = labels.astype(np.intp) * num_bins + 2 * num_bins * np.arange(at_once)[:, None]
    gaps = []
    for start in range(0, num_dims, at_once):
        few = values[start : start + at_once]
        these = keys[: len(few)]
        _fill_bins(few, num_bins, places[: len(few)], these)
        these += first_keys[: len(few)]
        gaps.append(_gaps(few, labels, these, num_bins))
    return Gaps(*map(np.concatenate, zip(*gaps, strict=True)))


def _fill_bins(values: Values, num_bins: int, places: Values, keys: Keys) -> None:
    low, high, per_unit = _scale(values, num_bins)
    np.clip(values, low, high, out=places)
    places -= low
    places *= per_unit
    keys[:] = places


def _scale(values: Values, num_bins: int) -> Iterator[Float[np.ndarray, "dims 1"]]:
    """Give where each dimension's bins begin and end, and their number per unit; 0 for a spread beyond floats."""
    sample = np.sort(values[:, :: max(1, values.shape[1] // SAMPLE)], axis=1)
    edge = sample.shape[1] * FAR_SHARE // SAMPLE
    low, high = sample[:, edge, None], sample[:, -1 - edge, None]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        per_unit = values.dtype.type(num_bins - 1) / (high - low)
    is_usable = (per_unit > 0) & (per_unit < np.inf)
    return (np.where(is_usable, each, values.dtype.type(0)) for each in (low, high, per_unit))


def _gaps(values: Values, labels: Labels, keys: Keys, num_bins: int) -> Gaps:
    num_dims, num_sentences = values.shape
    lead_of_all = int(2 * labels.sum()) - num_sentences
    counts = _counts(keys, num_bins, lead_of_all)
    hot = _hot(counts)
    near = np.flatnonzero(np.stack([hot, hot], axis=1).ravel().take(keys))
    starts = np.searchsorted(near, np.arange(num_dims) * num_sentences)
    dims = np.repeat(np.arange(num_dims, dtype=np.uint16), np.diff(starts, append=len(near)))
    near_values, near_labels = values.ravel()[near], labels[near - dims.astype(np.intp) * num_sentences]
    order = near_values.argsort()
    order = order[dims[order].argsort(kind="stable")]
    ascending = near_values[order]
    leads = _leads(near_labels[order], counts.before[hot], (counts.zeros + counts.ones)[hot])
    is_allowed = (ascending[1:] > ascending[:-1]) & (dims[1:] == dims[:-1])
    gain = np.append(np.abs(leads[:-1]) * is_allowed, 0)
    best = _first_largest(gain, starts)
    is_better = gain[best] > abs(lead_of_all)
    below, above = ascending[best], ascending[np.minimum(best + 1, len(near) - 1)]
    return Gaps(
        np.where(is_better, below.astype(np.float64), -np.inf),
        np.where(is_better, above.astype(np.float64), -np.inf),
        np.where(is_better, leads[best], lead_of_all),
    )


def _counts(keys: Keys, num_bins: int, lead_of_all: int) -> _Counts:
    counts = np.bincount(keys.ravel(), minlength=len(keys) * 2 * num_bins).reshape(-1, 2, num_bins)
    zeros, ones = counts[:, 0], counts[:, 1]
    steps = 2 * (zeros - ones)
    after = lead_of_all + steps.cumsum(axis=1)
    return _Counts(zeros, ones, after - steps, after)


def _hot(counts: _Counts) -> Bool[np.ndarray, "dims bins"]:
    """Tell which bins may hold a best cut or the value above it, which is in the next bin that holds any."""
    best = np.abs(counts.after).max(axis=1, keepdims=True)
    reach = np.maximum(counts.before + 2 * counts.zeros, 2 * counts.ones - counts.before) >= best
    filled = np.flatnonzero(counts.zeros + counts.ones)
    chosen = reach.ravel()[filled]
    # Across the border of two dimensions this only makes one bin more hot than need be.
    chosen[1:] |= chosen[:-1].copy()
    hot = np.zeros(reach.shape, dtype=bool)
    hot.ravel()[filled[chosen]] = True
    return hot


def _leads(
    labels: Int[np.ndarray, " near"], before: Int[np.ndarray, " hot"], num_values: Int[np.ndarray, " hot"]
) -> Int[np.ndarray, " near"]:
    """Give the lead after each of the sorted values of the hot bins, told what it is before each bin."""
    steps = 2 - 4 * labels
    leads = steps.cumsum()
    first = num_values.cumsum() - num_values
    return leads + np.repeat(before - leads[first] + steps[first], num_values)


def _first_largest(gain: Int[np.ndarray, " near"], starts: Int[np.ndarray, " dims"]) -> Int[np.ndarray, " dims"]:
    """Give the place of the largest value of each run; the first of several."""
    largest = np.maximum.reduceat(gain, starts)
    places = np.flatnonzero(gain == np.repeat(largest, np.diff(starts, append=len(gain))))
    return places[np.searchsorted(places, starts)]
