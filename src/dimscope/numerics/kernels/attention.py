"""Attention, compiled: what belongs to a head of a sentence stays in a core's own caches from the first to the last.

Threads take one head after the other. Queries, keys and values are read where a product of all three wrote them, as
float32 or bfloat16, and what is between is float32; gradients are written where that product's own is read. Queries go
in groups, so that long sentences have no large table but the one of probabilities, which is kept for the way back.

Rows of probabilities fill whole vectors: `whole_vectors` tells how long they are, and 0 stands beyond the last token.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Shaped
from llvmlite import ir
from numba import carray, types
from torch import Tensor

from dimscope.numerics.kernels.instructions import compiled, everywhere, instruction, pointer
from dimscope.numerics.kernels.small_products import add_product, room_for
from dimscope.numerics.kernels.threads import Task, next_range
from dimscope.numerics.kernels.vectors import (
    KINDS,
    VECTOR,
    added_product,
    all_of,
    every_vector,
    exponential,
    got,
    larger,
    largest,
    loaded,
    put,
    store,
    total,
    variable,
    whole_vectors,
)

LONG = 2**15
"""Numbers of queries, keys and values that are worth a thread."""
_GROUP = 64
"""Queries that are looked at together."""
_TOLD = ("query", "joint", "noise", "query_parts", "parts", "tokens", "read", "heads", "dims", "columns")


def attend(
    query: Float[Tensor, "batch read heads dims"] | None,
    joint: Float[Tensor, "batch tokens parts heads dims"],
    bias: Float[Tensor, "batch tokens"] | None,
    noise: Float32[Tensor, "batch heads read columns"] | None,
    num_threads: int,
    *,
    keeps_probabilities: bool = True,
) -> tuple[Float[Tensor, "batch read heads dims"], Float32[Tensor, "batch heads read columns"] | None]:
    """Give what is attended to, and, where told, the probabilities before `noise`, dropout's factors, is multiplied in.

    Without `query`, the first part of `joint` is the queries; its last two are keys and values. `bias` is added to the
    scores. All lie in memory without gaps; numbers are float32 or bfloat16.
    """
    told = _told(query, joint, noise)
    batch, read, heads, columns = len(joint), told["read"], told["heads"], told["columns"]
    added = joint.new_full((batch, columns), -math.inf, dtype=torch.float32)
    added[:, : told["tokens"]] = 0 if bias is None else bias
    out = joint.new_empty((batch, read, *joint.shape[3:]))
    kept = joint.new_empty((batch, heads, read, columns), dtype=torch.float32) if keeps_probabilities else None
    task = _attending(KINDS[joint.dtype])
    task(min(num_threads, joint.numel() // LONG), batch * heads, **told, added=added, probabilities=kept, out=out)
    return out, kept


def attend_back(
    gradient: Float[Tensor, "batch read heads dims"],
    query: Float[Tensor, "batch read heads dims"] | None,
    joint: Float[Tensor, "batch tokens parts heads dims"],
    noise: Float32[Tensor, "batch heads read columns"] | None,
    probabilities: Float32[Tensor, "batch heads read columns"],
    num_threads: int,
) -> tuple[Float[Tensor, "batch read heads dims"] | None, Float[Tensor, "batch tokens parts heads dims"]]:
    """Give the gradients of `query`, if it stands alone, and of `joint`."""
    of_query, of_joint = None if query is None else torch.empty_like(query), torch.empty_like(joint)
    told = {**_told(query, joint, noise), "probabilities": probabilities, "gradient": gradient}
    out = {"of_query": of_joint if of_query is None else of_query, "of_joint": of_joint}
    task = _returning(KINDS[joint.dtype])
    task(min(num_threads, joint.numel() // LONG), len(joint) * told["heads"], **told, **out)
    return of_query, of_joint


def _told(query: Tensor | None, joint: Tensor, noise: Tensor | None) -> dict[str, Any]:
    """Give what there and back are told; queries of the joint product are a part among others."""
    _, tokens, parts, heads, dims = joint.shape
    asking, query_parts, read = (joint, parts, tokens) if query is None else (query, 1, query.shape[1])
    sizes = (query_parts, parts, tokens, read, heads, dims, whole_vectors(tokens))
    return dict(zip(_TOLD, (asking, joint, noise, *sizes), strict=True))


@cache
def _attending(kind: np.dtype) -> Task:
    """Give the task for numbers of this kind; its pieces are the heads of all sentences."""

    def attend_heads(given: Any) -> None:
        work = carray(given, 1)[0]
        tokens, read, heads, dims = work.tokens, work.read, work.heads, work.dims
        query, joint, noise, probabilities = _views(work, kind)
        out = carray(pointer(work.out), (len(joint), read, heads, dims), kind)
        added = carray(pointer(work.added), (len(joint), work.columns), np.float32)
        keys, values = room_for(dims, work.columns), room_for(tokens, dims)
        asked, scores, found = room_for(_GROUP, dims), room_for(_GROUP, work.columns), room_for(_GROUP, dims)
        first, last = next_range(given)
        while first < last:
            for piece in range(first, last):
                at, head = piece // heads, piece % heads
                _copy_turned(joint[at, :, work.parts - 2, head], keys)
                _copy(joint[at, :, work.parts - 1, head], values, tokens, dims)
                for start in range(0, read, _GROUP):
                    stop = min(start + _GROUP, read)
                    rows = stop - start
                    _copy(query[at, start:stop, 0, head], asked, rows, dims)
                    _attend(asked, keys, added[at], scores, rows, dims)
                    if work.probabilities:
                        probabilities[at, head, start:stop] = scores[:rows]
                    if work.noise:
                        _multiply_rows(scores, noise[at, head, start:stop])
                    found[:] = 0
                    add_product(scores, work.columns, 1, values, found, rows, tokens)
                    _copy(found, out[at, start:stop, head], rows, dims)
            first, last = next_range(given)

    return Task(attend_heads, *_TOLD, "added", "probabilities", "out")


@cache
def _returning(kind: np.dtype) -> Task:
    """Give the task of the way back, which has the same pieces."""

    def return_heads(given: Any) -> None:
        work = carray(given, 1)[0]
        tokens, read, heads, dims = work.tokens, work.read, work.heads, work.dims
        query, joint, noise, probabilities = _views(work, kind)
        of_query = carray(pointer(work.of_query), query.shape, kind)
        of_joint = carray(pointer(work.of_joint), joint.shape, kind)
        gradient = carray(pointer(work.gradient), (len(joint), read, heads, dims), kind)
        keys, values = room_for(tokens, dims), room_for(dims, work.columns)
        of_keys, of_values = room_for(work.columns, dims), room_for(work.columns, dims)
        asked, of_asked, wanted = room_for(_GROUP, dims), room_for(_GROUP, dims), room_for(_GROUP, dims)
        used, of_scores = room_for(_GROUP, work.columns), room_for(_GROUP, work.columns)
        first, last = next_range(given)
        while first < last:
            for piece in range(first, last):
                at, head = piece // heads, piece % heads
                _copy(joint[at, :, work.parts - 2, head], keys, tokens, dims)
                _copy_turned(joint[at, :, work.parts - 1, head], values)
                of_keys[:], of_values[:] = 0, 0
                for start in range(0, read, _GROUP):
                    stop = min(start + _GROUP, read)
                    rows = stop - start
                    _copy(query[at, start:stop, 0, head], asked, rows, dims)
                    _copy(gradient[at, start:stop, head], wanted, rows, dims)
                    used[:rows] = probabilities[at, head, start:stop]
                    of_scores[:], of_asked[:] = 0, 0
                    add_product(wanted, wanted.shape[1], 1, values, of_scores, rows, dims)
                    if work.noise:
                        _multiply_rows(used, noise[at, head, start:stop])
                        _multiply_rows(of_scores, noise[at, head, start:stop])
                    for i in range(rows):
                        _softmax_back(of_scores[i], probabilities[at, head, start + i], work.columns, _scale(dims))
                    add_product(used, 1, work.columns, wanted, of_values, tokens, rows)
                    add_product(of_scores, 1, work.columns, asked, of_keys, tokens, rows)
                    add_product(of_scores, work.columns, 1, keys, of_asked, rows, tokens)
                    _copy(of_asked, of_query[at, start:stop, 0, head], rows, dims)
                _copy(of_keys, of_joint[at, :, work.parts - 2, head], tokens, dims)
                _copy(of_values, of_joint[at, :, work.parts - 1, head], tokens, dims)
            first, last = next_range(given)

    return Task(return_heads, *_TOLD, "probabilities", "gradient", "of_query", "of_joint")


@compiled
def _views(work: Any, kind: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give the queries and all parts, [batch, tokens, parts, heads, dims] each, dropout's factors and probabilities."""
    batch, rest = work.num_pieces // work.heads, (work.heads, work.dims)
    query = carray(pointer(work.query), (batch, work.read, work.query_parts, *rest), kind)
    joint = carray(pointer(work.joint), (batch, work.tokens, work.parts, *rest), kind)
    noise = carray(pointer(work.noise), (batch, work.heads, work.read, work.columns), np.float32)
    return query, joint, noise, carray(pointer(work.probabilities), noise.shape, np.float32)


@compiled
def _scale(dims: int) -> np.float32:
    return np.float32(1 / np.sqrt(dims))


@compiled
def _copy(x: Shaped[np.ndarray, "_rows _dims"], out: Shaped[np.ndarray, "_rows _dims"], rows: int, dims: int) -> None:
    """Write so many rows of so many numbers, of float32 or bfloat16, as float32 or bfloat16."""
    for row in range(rows):
        read, written = x[row], out[row]
        for dim in range(dims):
            put(written, dim, got(read, dim))


@compiled
def _copy_turned(x: Shaped[np.ndarray, "rows dims"], out: Float32[np.ndarray, "_dims _rows"]) -> None:
    for row in range(x.shape[0]):
        read = x[row]
        for dim in range(x.shape[1]):
            out[dim, row] = got(read, dim)


@compiled
def _attend(
    asked: Float32[np.ndarray, "_group _dims"],
    keys: Float32[np.ndarray, "_dims columns"],
    added: Float32[np.ndarray, " columns"],
    scores: Float32[np.ndarray, "_group columns"],
    num_rows: int,
    dims: int,
) -> None:
    """Write the probabilities of a group of queries into `scores`."""
    scores[:] = 0
    add_product(asked, asked.shape[1], 1, keys, scores, num_rows, dims)
    for i in range(num_rows):
        _softmax(scores[i], added, scores.shape[1], _scale(dims))


@compiled
def _multiply_rows(x: Float32[np.ndarray, "_rows columns"], factors: Float32[np.ndarray, "rows columns"]) -> None:
    for row in range(factors.shape[0]):
        _multiply(x[row], factors[row], factors.shape[1])


def _build_softmax(
    builder: ir.IRBuilder, scores: ir.Value, added: ir.Value, columns: ir.Value, scale: ir.Value
) -> None:
    top, weight = variable(builder, all_of(-math.inf)), variable(builder, all_of(0.0))
    scale = everywhere(builder, scale, VECTOR)
    with every_vector(builder, columns) as i:
        score = added_product(builder, loaded(builder, added, i), loaded(builder, scores, i), scale)
        store(builder, score, scores, i)
        builder.store(larger(builder, builder.load(top), score), top)
    highest = everywhere(builder, largest(builder, builder.load(top)), VECTOR)
    with every_vector(builder, columns) as i:
        power = exponential(builder, builder.fsub(loaded(builder, scores, i), highest))
        store(builder, power, scores, i)
        builder.store(builder.fadd(builder.load(weight), power), weight)
    share = builder.fdiv(ir.FloatType()(1.0), total(builder, builder.load(weight)))
    share = everywhere(builder, share, VECTOR)
    with every_vector(builder, columns) as i:
        store(builder, builder.fmul(loaded(builder, scores, i), share), scores, i)


def _build_softmax_back(
    builder: ir.IRBuilder, gradient: ir.Value, probabilities: ir.Value, columns: ir.Value, scale: ir.Value
) -> None:
    shared = variable(builder, all_of(0.0))
    with every_vector(builder, columns) as i:
        both = loaded(builder, gradient, i), loaded(builder, probabilities, i)
        builder.store(added_product(builder, builder.load(shared), *both), shared)
    mean, scale = (everywhere(builder, each, VECTOR) for each in (total(builder, builder.load(shared)), scale))
    with every_vector(builder, columns) as i:
        difference = builder.fsub(loaded(builder, gradient, i), mean)
        scaled = builder.fmul(builder.fmul(difference, loaded(builder, probabilities, i)), scale)
        store(builder, scaled, gradient, i)


def _build_multiply(builder: ir.IRBuilder, x: ir.Value, factors: ir.Value, columns: ir.Value) -> None:
    with every_vector(builder, columns) as i:
        store(builder, builder.fmul(loaded(builder, x, i), loaded(builder, factors, i)), x, i)


_softmax = instruction(types.void, _build_softmax)
"""Makes, in place, of a row of scores their softmax, after what is to be added."""
_softmax_back = instruction(types.void, _build_softmax_back)
"""Makes, in place, of a row of gradients of probabilities the gradients of the scores before their scale."""
_multiply = instruction(types.void, _build_multiply)
"""Multiplies a row by factors, in place."""
