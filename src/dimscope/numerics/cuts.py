"""Where to cut sorted rows of labels into intervals of one class each, so that most labels are right.

A cut at place p has p labels on its left; place 0, which leaves nothing there, is always allowed. Two classes
take one cumulative sum. More take the dynamic program of optimal segmentation (Bellman 1961, CACM 4(6):284;
Auger & Lawrence 1989, Bull. Math. Biol. 51(1):39): with P_c(p) the number of labels c among the first p,

    best_0(p) = max_c P_c(p),    best_s(p) = max_c { P_c(p) + max_{q ≤ p} [best_{s−1}(q) − P_c(q)] }.

The inner maximum is a running one, so every step is a few passes over the rows. Both ways are exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

Labels = Int[np.ndarray, "dims sentences"]
Allowed = Bool[np.ndarray, "dims places"]


class Cuts(NamedTuple):
    """Where each row is cut, the class of each interval between, and how many labels that gets right."""

    places: Int[np.ndarray, "dims cuts"]
    classes: Int[np.ndarray, "dims intervals"]
    num_right: Int[np.ndarray, " dims"]


def best_cut(labels: Labels, allowed: Allowed) -> Cuts:
    """Cut rows of the labels 0 and 1 once; the leftmost of the best, with 0 on its left if that is as good.

    >>> cuts = best_cut(np.array([[1, 1, 0, 0, 1]]), np.array([[True] * 5 + [False]]))
    >>> cuts.places.tolist(), cuts.classes.tolist(), cuts.num_right.tolist()
    ([[2]], [[1, 0]], [4])
    """
    leads = lead_by_place(labels)
    return cut_at((np.abs(leads) * allowed).argmax(axis=1), leads)


def lead_by_place(labels: Labels) -> Int[np.ndarray, "dims places"]:
    """Give right minus wrong answers of '0 on the left, 1 on the right' for a cut at each place."""
    num_dims, num_sentences = labels.shape
    leads = np.empty((num_dims, num_sentences + 1), dtype=np.int32)
    leads[:, 0] = 2 * labels.sum(axis=1) - num_sentences
    leads[:, 1:] = 2 - 4 * labels
    return leads.cumsum(axis=1, dtype=np.int32, out=leads)


def cut_at(places: Int[np.ndarray, " dims"], leads: Int[np.ndarray, "dims places"]) -> Cuts:
    """Cut there, with 1 on the left where that gets more right."""
    lead = np.take_along_axis(leads, places[:, None], axis=1)
    classes = np.where(lead >= 0, [0, 1], [1, 0])
    num_sentences = leads.shape[1] - 1
    return Cuts(places[:, None], classes, (num_sentences + np.abs(lead[:, 0])) // 2)


def best_cuts(labels: Labels, allowed: Allowed, num_classes: int) -> Cuts:
    """Cut rows of labels into at most as many intervals as there are classes, each of any class.

    From the last interval to the first, the lowest of equally good classes is taken and then the earliest
    beginning; cuts that are not needed stand at place 0.

    >>> cuts = best_cuts(np.array([[2, 2, 0, 1, 1]]), np.array([[True] * 5 + [False]]), num_classes=3)
    >>> cuts.places.tolist(), cuts.classes.tolist(), cuts.num_right.tolist()
    ([[2, 3]], [[2, 0, 1]], [5])
    """
    counts = _counts(labels, num_classes)
    best = [counts.max(axis=0)]
    for _ in range(num_classes - 1):
        gain = np.where(allowed, best[-1] - counts, -1)
        best.append((counts + np.maximum.accumulate(gain, axis=2)).max(axis=0))
    return _traced_back(counts, allowed, best)


def _counts(labels: Labels, num_classes: int) -> Int[np.ndarray, "classes dims places"]:
    num_dims, num_sentences = labels.shape
    counts = np.zeros((num_classes, num_dims, num_sentences + 1), dtype=np.int32)
    for each in range(num_classes):
        np.cumsum(labels == each, axis=1, dtype=np.int32, out=counts[each, :, 1:])
    return counts


def _traced_back(counts: np.ndarray, allowed: Allowed, best: list[np.ndarray]) -> Cuts:
    """Find the intervals from the last to the first, each ending where the next one begins."""
    num_classes, num_dims, num_places = counts.shape
    places = np.zeros((num_dims, num_classes - 1), dtype=np.int64)
    classes = np.zeros((num_dims, num_classes), dtype=np.int64)
    end = np.full(num_dims, num_places - 1)
    for interval in range(num_classes - 1, 0, -1):
        # An interval may be empty only at place 0, where nothing is left for it and those before it.
        possible = allowed & (np.arange(num_places) < np.maximum(end, 1)[:, None])
        gain = np.where(possible, best[interval - 1] - counts, -1)
        chosen = (gain.max(axis=2) + _at(counts, end)).argmax(axis=0)
        end = gain.argmax(axis=2)[chosen, np.arange(num_dims)]
        classes[:, interval], places[:, interval - 1] = chosen, end
    classes[:, 0] = _at(counts, end).argmax(axis=0)
    return Cuts(places, classes, best[-1][:, -1])


def _at(counts: np.ndarray, places: np.ndarray) -> Int[np.ndarray, "classes dims"]:
    return counts[:, np.arange(len(places)), places]
