"""Seeded, stratified choices of sentences. They belong to the task: a bench's seed does not move them."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from jaxtyping import Int64

from dimscope.core.errors import UserError
from dimscope.core.seeds import stream
from dimscope.data.task import Split


def hold_out(split: Split, fraction: float) -> tuple[Split, Split]:
    """Part the sentences into those to learn from and a fraction that is held out, both shuffled.

    Every class is parted in the same proportion, but for rounding, with at least one sentence on either side.

    Raises:
        UserError: a class has a single sentence.
    """
    labels, counts = np.unique(split.labels, return_counts=True)
    if counts.min() < 2:
        raise UserError(
            f"{np.sum(counts < 2)} of {len(counts)} classes have a single sentence, and one to learn from and one "
            "to hold out are needed. Give a validation file, or leave such classes out"
        )
    held_out, rest = choose(split.labels, max(round(fraction * len(split)), len(labels)))
    return split.at(rest), split.at(held_out)


def limited(split: Split, limit: int) -> Split:
    """Take at most so many sentences, the classes in their proportions but for rounding, shuffled.

    Raises:
        UserError: the limit leaves no sentence for some class.
    """
    if limit >= len(split):
        return split
    num_classes = len(np.unique(split.labels))
    if limit < num_classes:
        raise UserError(f"a limit of {limit} is too small for {num_classes} classes: one sentence each is needed")
    return split.at(choose(split.labels, limit)[0])


def choose(
    labels: Int64[np.ndarray, " sentences"], total: int
) -> tuple[Int64[np.ndarray, " chosen"], Int64[np.ndarray, " rest"]]:
    """Give the places of `total` stratified sentences and those of all others, both shuffled.

    >>> chosen, rest = choose(np.array([0, 0, 0, 0, 1, 1]), total=3)
    >>> sorted(np.array([0, 0, 0, 0, 1, 1])[chosen].tolist())
    [0, 0, 1]
    """
    order = stream(0, "split").permutation(len(labels))
    shuffled = labels[order]
    rank = np.empty_like(shuffled)
    for label in np.unique(labels):
        rank[shuffled == label] = np.arange(np.sum(shuffled == label))
    chosen = rank < _quotas(np.bincount(labels), total)[shuffled]
    return order[chosen], order[~chosen]


def _quotas(counts: Int64[np.ndarray, " classes"], total: int) -> Int64[np.ndarray, " classes"]:
    """Share `total` out by the largest remainders, and give each class that there is at least one."""
    exact = counts * total / counts.sum()
    quotas = exact.astype(np.int64)
    by_remainder = np.argsort(quotas - exact, kind="stable")
    quotas[by_remainder[: total - quotas.sum()]] += 1
    while (missing := np.flatnonzero((quotas == 0) & (counts > 0))).size:
        quotas[missing[0]] += 1
        quotas[quotas.argmax()] -= 1
    return quotas


def without(split: Split, other: Split) -> Split:
    """Give the sentences that do not stand in `other` word for word."""
    known = set(other.inputs())
    return split.at(np.flatnonzero([inputs not in known for inputs in split.inputs()]))


def num_contradictory(split: Split) -> int:
    """Count the sentences that stand there again with another class.

    >>> num_contradictory(Split(("a", "b", "a"), np.array([0, 0, 1])))
    2
    """
    labels = defaultdict(list)
    for inputs, label in zip(split.inputs(), split.labels.tolist(), strict=True):
        labels[inputs].append(label)
    return sum(len(each) for each in labels.values() if len(set(each)) > 1)
