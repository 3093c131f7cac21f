"""The Walsh–Hadamard transform as butterflies that stay in a processor's caches, compiled by numba.

A butterfly gives the sum and the difference of two numbers; log₂ n levels of them, of numbers that lie 1, 2, 4, …
apart, are the transform (Fino & Algazi 1976, IEEE Trans. Comput. C-25(11):1142). We take two levels in one pass and
keep the order of all sums, so the bits are those of one level at a time, on every processor, in however many threads.

What differs is the way through memory. A tile goes through its levels in the innermost cache: each pass reads four
neighbors and writes them a quarter of the tile apart, so that all passes are alike and the last one has everything
back in its place (Pease 1968, J. ACM 15(2):252). Four neighboring pieces are joined as soon as they are done, while a
cache holds them; only the last levels of a long vector walk over memory.

The first transform on a machine compiles for some seconds; other processes find it on disk: beside this file, in the
user's cache, or where NUMBA_CACHE_DIR says.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from jaxtyping import Float
from numba import njit

TILE = 2**12
"""Numbers of a tile: it and a spare one stay in the innermost cache."""
LONG = 2**22
"""Numbers that are worth a thread, which takes long to start; threads share a vector of more."""
PARTS = 16
"""Parts of a shared vector: two passes join them."""
COLUMNS = 2**12
"""Numbers of each part that both joining passes take in turn."""

Kernel = Callable[..., None]


def compiled(kernel: Kernel) -> Kernel:
    """Compile at the first call, and keep it on disk unless numba finds no folder there that it may write to."""
    try:
        return njit(nogil=True, cache=True)(kernel)
    except RuntimeError:
        return njit(nogil=True)(kernel)


def transform(x: Float[np.ndarray, "vectors n"], num_threads: int) -> Float[np.ndarray, "vectors n"]:
    """Give H x for each vector of float32 or float64 numbers that lie one after the other; n is a power of two.

    >>> transform(np.array([[1.0, 0.0, 0.0, 2.0]]), num_threads=1)
    array([[ 3., -1., -1.,  3.]])
    """
    n = x.shape[1]
    if n == 1:
        return x.copy()
    out = np.empty_like(x)
    num_threads = min(num_threads, x.size // LONG)
    if num_threads < 2:
        _transform(x, out)
        return out
    length = n if n <= LONG else n // PARTS
    shares = (np.array_split(each.reshape(-1, length), num_threads) for each in (x, out))
    with ThreadPoolExecutor(num_threads) as threads:  # ends with them, so that the process may fork afterwards
        list(threads.map(_transform, *shares))
        if length < n:
            bounds = [length // COLUMNS * thread // num_threads for thread in range(num_threads + 1)]
            list(threads.map(partial(_join_parts, out), bounds[:-1], bounds[1:]))
    return out


@compiled
def _transform(sources: Float[np.ndarray, "vectors n"], targets: Float[np.ndarray, "vectors n"]) -> None:
    n = sources.shape[1]
    tile = min(n, TILE)
    spare = np.empty(tile, sources.dtype)
    for vector in range(len(sources)):
        out = targets[vector]
        for end in range(tile, n + 1, tile):
            _transform_tile(sources[vector, end - tile : end], out[end - tile : end], spare)
            size = tile
            while end % (4 * size) == 0:
                _join_four(out, end - 4 * size, size, size)
                size *= 4
        if 2 * size == n:
            _join_two(out[:size], out[size:])


@compiled
def _join_parts(vectors: Float[np.ndarray, "vectors n"], first: int, last: int) -> None:
    """Take the last four levels of a range of columns, a matrix of parts × columns at a time."""
    size = vectors.shape[1] // PARTS
    for vector in range(len(vectors)):
        for start in range(first * COLUMNS, last * COLUMNS, COLUMNS):
            for part in range(0, PARTS, 4):
                _join_four(vectors[vector], start + part * size, size, COLUMNS)
            for part in range(4):
                _join_four(vectors[vector], start + part * size, 4 * size, COLUMNS)


@compiled
def _transform_tile(x: Float[np.ndarray, " n"], out: Float[np.ndarray, " n"], spare: Float[np.ndarray, " n"]) -> None:
    """Go to and fro between the target and a spare tile, so that the last pass ends in the target."""
    num_passes = 0
    while 4**num_passes < x.size:
        num_passes += 1
    into, other = (out, spare) if num_passes % 2 else (spare, out)
    for step in range(num_passes):
        if step == 0 and 4**num_passes > x.size:
            _spread_two(x, into)
        else:
            _spread_four(x, into)
        x, into, other = into, other, into


@compiled
def _spread_two(x: Float[np.ndarray, " n"], into: Float[np.ndarray, " n"]) -> None:
    half = x.size // 2
    for i in range(half):
        a, b = x[2 * i], x[2 * i + 1]
        into[i], into[half + i] = a + b, a - b


@compiled
def _spread_four(x: Float[np.ndarray, " n"], into: Float[np.ndarray, " n"]) -> None:
    quarter = x.size // 4
    for i in range(quarter):
        a, b, c, d = x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]
        p, q, r, s = a + b, a - b, c + d, c - d
        into[i], into[quarter + i], into[2 * quarter + i], into[3 * quarter + i] = p + r, q + s, p - r, q - s


@compiled
def _join_two(a: Float[np.ndarray, " half"], b: Float[np.ndarray, " half"]) -> None:
    for i in range(a.size):
        a[i], b[i] = a[i] + b[i], a[i] - b[i]


@compiled
def _join_four(x: Float[np.ndarray, " n"], start: int, stride: int, size: int) -> None:
    """Take two levels of four pieces that begin `stride` apart; as slices, for only so they are taken as vectors."""
    second, third, fourth = start + stride, start + 2 * stride, start + 3 * stride
    a, b = x[start : start + size], x[second : second + size]
    c, d = x[third : third + size], x[fourth : fourth + size]
    for i in range(size):
        p, q, r, s = a[i] + b[i], a[i] - b[i], c[i] + d[i], c[i] - d[i]
        a[i], b[i], c[i], d[i] = p + r, q + s, p - r, q - s
