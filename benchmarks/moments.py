"""Moments and extremes of a stream of states, in constant memory, against numpy on the matrix in memory.

Numpy takes them one after the other, as one writes it: mean and variance, third and fourth power of the deviations,
minimum and maximum, all with float64 accumulators. The stream is one chunk given again and again, so that it is the
statistics that are timed. Peak memory is that of a fresh process for each.

python benchmarks/moments.py [--quick] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from frame.fresh import fresh
from frame.versus import Row, alternate, main

from dimscope.core.seeds import stream
from dimscope.numerics.moments import Moments

CHUNK_ROWS, BERT_BASE = 10_000, 768

READ_AT_LEAST = 10e9
"""Bytes per second that one of today's cores reads from memory."""


def speed(quick: bool) -> Row:
    num_chunks = _num_chunks(quick)
    matrix = np.tile(_chunk(), (num_chunks, 1))
    seconds = alternate(
        1 if quick else 3,
        ours=lambda: _of_stream(matrix[start : start + CHUNK_ROWS] for start in range(0, len(matrix), CHUNK_ROWS)),
        peer=lambda: _by_numpy(matrix),
    )
    floor = {"floor": matrix.nbytes / READ_AT_LEAST, "floor_is": "reading the states once at 10 GB/s"}
    return Row.speedup(f"moments, {_size(num_chunks)}: numpy", seconds["ours"], seconds["peer"], at_least=1, **floor)


def memory(quick: bool) -> Iterator[Row]:
    num_chunks = _num_chunks(quick)
    _, few = fresh(_stream_of, num_chunks // 10)
    _, many = fresh(_stream_of, num_chunks)
    _, whole = fresh(_matrix_of, num_chunks)
    yield Row.cost(f"peak memory at {_size(num_chunks)}: at a tenth of it", many, few, at_most=1.05, unit="MiB")
    yield Row.cost(f"peak memory at {_size(num_chunks)}: numpy", many, whole, at_most=1, unit="MiB")


def _num_chunks(quick: bool) -> int:
    return 10 if quick else 100


def _size(num_chunks: int) -> str:
    return f"{num_chunks * CHUNK_ROWS:,} × {BERT_BASE}"


def _chunk() -> np.ndarray:
    return 3 + stream(0, "states").standard_normal((CHUNK_ROWS, BERT_BASE), dtype=np.float32)


def _of_stream(chunks: Iterator[np.ndarray]) -> None:
    moments = Moments()
    for chunk in chunks:
        moments.update(chunk)
    _ = moments.mean, moments.variance, moments.skew, moments.kurtosis, moments.minimum, moments.maximum


def _by_numpy(states: np.ndarray) -> None:
    mean, variance = states.mean(axis=0, dtype=np.float64), states.var(axis=0, dtype=np.float64)
    deviations = states - mean.astype(np.float32)
    squares = deviations * deviations
    deviations *= squares
    squares *= squares
    _ = deviations.mean(axis=0, dtype=np.float64) / variance**1.5, squares.mean(axis=0, dtype=np.float64) / variance**2
    _ = states.min(axis=0), states.max(axis=0)


def _stream_of(num_chunks: int) -> None:
    chunk = _chunk()
    _of_stream(chunk for _ in range(num_chunks))


def _matrix_of(num_chunks: int) -> None:
    _by_numpy(np.tile(_chunk(), (num_chunks, 1)))


if __name__ == "__main__":
    main(__file__, [speed, memory])
