"""The 1-D classifier on every dimension, two classes, exact: against the paper's search, and against a bare sort.

The paper's code takes for each dimension 201 thresholds and scikit-learn's `accuracy_score` at each; that is timed on
a few dimensions and scaled to all. The sort is `np.sort` of every dimension, along the rows as the states lie and of a
transposed copy made beforehand; the faster is the one to beat, though it gives no thresholds.

python benchmarks/one_dimension.py [--quick] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from frame.versus import Row, alternate, main
from sklearn.metrics import accuracy_score

from dimscope.core.memory import keep_freed_memory
from dimscope.core.seeds import stream
from dimscope.numerics.thresholds import GRID, exact_thresholds

SST2, BERT_BASE = 67_349, 768
"""The sentences of SST-2's training split and the dimensions of BERT-base."""

READ_AT_LEAST = 10e9
"""Bytes per second that one of today's cores reads from memory."""


def compare(quick: bool) -> Iterator[Row]:
    keep_freed_memory()  # as a bench does
    num_sentences, num_dims, timed_dims = (20_000, 96, 1) if quick else (SST2, BERT_BASE, 3)
    states = stream(0, "states").standard_normal((num_sentences, num_dims), dtype=np.float32)
    labels = stream(0, "labels").integers(0, 2, num_sentences)
    lying = np.ascontiguousarray(states.T)
    seconds = alternate(
        2 if quick else 5,
        ours=lambda: exact_thresholds(states, labels, 2),
        standing=lambda: np.sort(states, axis=0),
        lying=lambda: np.sort(lying, axis=1),
    )
    way = min("standing", "lying", key=seconds.__getitem__)
    size = f"{num_sentences:,} × {num_dims}"
    floor = {"floor": states.nbytes / READ_AT_LEAST, "floor_is": "reading the states once at 10 GB/s"}
    paper = num_dims * alternate(1, paper=lambda: [_paper(x, labels) for x in lying[:timed_dims]])["paper"] / timed_dims
    beaten = f"201 thresholds × accuracy_score, measured on {timed_dims} of the dimensions"
    yield Row.speedup(f"1-D, {size}: {beaten}", seconds["ours"], paper, at_least=1000, **floor)
    sort = "np.sort(states, axis=0)" if way == "standing" else "np.sort of the transposed copy, axis=1"
    yield Row.cost(f"1-D, {size}: {sort}", seconds["ours"], seconds[way], at_most=2, **floor)


def _paper(x: np.ndarray, labels: np.ndarray) -> float:
    """Equation 1 as it stands, both directions at every threshold."""
    right = [accuracy_score(labels, np.where(x <= x.mean() + epsilon, 0, 1)) for epsilon in GRID]
    return max(max(each, 1 - each) for each in right)


if __name__ == "__main__":
    main(__file__, [compare])
