"""Attention, compiled: what belongs to a head of a sentence stays in a core's own caches from the first to the last.

Sentences lie one after the other without padding: sentence i is rows starts[i] to starts[i + 1]. Threads take one head
after the other. Queries, keys and values are read where a product of all three wrote them, as float32 or bfloat16, and
what is between is float32; gradients are written where that product's own is read. Queries go in groups, so that long
sentences have no large table but the one of probabilities, which is kept for the way back.

The tables of all sentences, [heads, tokens, columns] each, also lie one after the other. Their rows fill whole vectors,
and 0 stands beyond the last token.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from torch import Tensor

from dimscope.numerics.kernels.copies import copy_rows, copy_turned
from dimscope.numerics.kernels.instructions import compiled, everywhere, instruction, pointer
from dimscope.numerics.kernels.small_products import add_product, part_of, room_for
from dimscope.numerics.kernels.threads import Task, next_range
from dimscope.numerics.kernels.vectors import (
    KINDS,
    VECTOR,
    WIDTH,
    added_product,
    all_of,
    are_before,
    every_vector,
    exponential,
    larger,
    largest,
    loaded,
    store,
    total,
    variable,
)

LONG = 2**15
"""Numbers of queries, keys and values that are worth a thread."""
_GROUP = 64
"""Queries that are looked at together."""
_TOLD = ("joint", "starts", "tables", "noise", "rows", "heads", "dims", "longest")
_QUERIES, _KEYS, _VALUES = range(3)
"""Parts of what the product of all three wrote."""


class Tables:
    """Where sentences begin among rows, and their tables among all numbers, for so many heads."""

    def __init__(self, starts: Int64[Tensor, " sentences+1"], heads: int) -> None:
        self.starts = starts.numpy()
        tokens = np.diff(self.starts)
        self.begins = np.append(0, np.cumsum(heads * tokens * (-(-tokens // WIDTH) * WIDTH)))
        self.longest, self.num_tokens, self.num_numbers = int(tokens.max()), int(self.starts[-1]), int(self.begins[-1])
        self.num_pieces = len(tokens) * heads


def attend(
    joint: Float[Tensor, "rows 3 heads dims"],
    tables: Tables,
    noise: Float32[Tensor, " numbers"] | None,
    num_threads: int,
    *,
    keeps_probabilities: bool = True,
) -> tuple[Float[Tensor, "rows heads dims"], Float32[Tensor, " numbers"] | None]:
    """Give what is attended to, and, where told, the probabilities before `noise`, dropout's factors, is multiplied in.

    `joint` is queries, keys and values, and lies in memory without gaps, as float32 or bfloat16. What is attended to
    by rows after the last sentence is 0.
    """
    out = torch.empty_like(joint[:, _QUERIES])
    out[tables.num_tokens :] = 0
    probabilities = torch.empty(tables.num_numbers) if keeps_probabilities else None
    task, num_threads = _attending(KINDS[joint.dtype]), min(num_threads, joint.numel() // LONG)
    task(num_threads, tables.num_pieces, **_told(joint, tables, noise), probabilities=probabilities, out=out)
    return out, probabilities


def attend_back(
    gradient: Float[Tensor, "rows heads dims"],
    joint: Float[Tensor, "rows 3 heads dims"],
    tables: Tables,
    noise: Float32[Tensor, " numbers"] | None,
    probabilities: Float32[Tensor, " numbers"],
    num_threads: int,
) -> Float[Tensor, "rows 3 heads dims"]:
    """Give the gradient of `joint`."""
    of_joint = torch.empty_like(joint)
    of_joint[tables.num_tokens :] = 0
    told = {**_told(joint, tables, noise), "probabilities": probabilities, "gradient": gradient, "of_joint": of_joint}
    task, num_threads = _returning(KINDS[joint.dtype]), min(num_threads, joint.numel() // LONG)
    task(num_threads, tables.num_pieces, **told)
    return of_joint


def _told(joint: Tensor, tables: Tables, noise: Tensor | None) -> dict[str, Any]:
    """Give what there and back are told."""
    rows, _, heads, dims = joint.shape
    told = (joint, tables.starts, tables.begins, noise, rows, heads, dims, tables.longest)
    return dict(zip(_TOLD, told, strict=True))


@cache
def _attending(kind: np.dtype) -> Task:
    """Give the task for numbers of this kind; its pieces are the heads of all sentences."""

    def attend_heads(given: Any) -> None:
        work = carray(given, 1)[0]
        heads, dims, longest = work.heads, work.dims, work.longest
        joint, starts, tables = _views(work, kind)
        out = carray(pointer(work.out), (work.rows, heads, dims), kind)
        noise = carray(pointer(work.noise), tables[-1], np.float32)
        probabilities = carray(pointer(work.probabilities), tables[-1], np.float32)
        all_keys, all_values, all_scores = room_for(dims, longest), room_for(longest, dims), room_for(_GROUP, longest)
        asked, found = room_for(_GROUP, dims), room_for(_GROUP, dims)
        first, last = next_range(given)
        while first < last:
            for piece in range(first, last):
                at, head = piece // heads, piece % heads
                start, tokens = starts[at], starts[at + 1] - starts[at]
                keys, values = part_of(all_keys, dims, tokens), part_of(all_values, tokens, dims)
                scores = part_of(all_scores, _GROUP, tokens)
                columns = scores.shape[1]
                table = tables[at] + head * tokens * columns
                copy_turned(joint[start : start + tokens, _KEYS, head], keys)
                copy_rows(joint[start : start + tokens, _VALUES, head], values, tokens, dims)
                for top in range(0, tokens, _GROUP):
                    rows = min(_GROUP, tokens - top)
                    group = slice(start + top, start + top + rows)
                    chosen = slice(table + top * columns, table + (top + rows) * columns)
                    copy_rows(joint[group, _QUERIES, head], asked, rows, dims)
                    _attend(asked, keys, scores, rows, tokens, dims)
                    if work.probabilities:
                        probabilities[chosen] = scores[:rows].reshape(rows * columns)
                    if work.noise:
                        _multiply(scores, noise[chosen], rows * columns)
                    found[:] = 0
                    add_product(scores, columns, 1, values, found, rows, tokens)
                    copy_rows(found, out[group, head], rows, dims)
            first, last = next_range(given)

    return Task(attend_heads, *_TOLD, "probabilities", "out")


@cache
def _returning(kind: np.dtype) -> Task:
    """Give the task of the way back, which has the same pieces."""

    def return_heads(given: Any) -> None:
        work = carray(given, 1)[0]
        heads, dims, longest = work.heads, work.dims, work.longest
        joint, starts, tables = _views(work, kind)
        of_joint = carray(pointer(work.of_joint), joint.shape, kind)
        gradient = carray(pointer(work.gradient), (work.rows, heads, dims), kind)
        noise = carray(pointer(work.noise), tables[-1], np.float32)
        probabilities = carray(pointer(work.probabilities), tables[-1], np.float32)
        all_keys, all_values = room_for(longest, dims), room_for(dims, longest)
        all_of_keys, all_of_values = room_for(longest, dims), room_for(longest, dims)
        asked, of_asked, wanted = room_for(_GROUP, dims), room_for(_GROUP, dims), room_for(_GROUP, dims)
        all_used, all_of_scores = room_for(_GROUP, longest), room_for(_GROUP, longest)
        first, last = next_range(given)
        while first < last:
            for piece in range(first, last):
                at, head = piece // heads, piece % heads
                start, tokens = starts[at], starts[at + 1] - starts[at]
                keys, values = part_of(all_keys, tokens, dims), part_of(all_values, dims, tokens)
                of_keys, of_values = part_of(all_of_keys, tokens, dims), part_of(all_of_values, tokens, dims)
                used, of_scores = part_of(all_used, _GROUP, tokens), part_of(all_of_scores, _GROUP, tokens)
                columns = used.shape[1]
                table = tables[at] + head * tokens * columns
                copy_rows(joint[start : start + tokens, _KEYS, head], keys, tokens, dims)
                copy_turned(joint[start : start + tokens, _VALUES, head], values)
                of_keys[:], of_values[:] = 0, 0
                for top in range(0, tokens, _GROUP):
                    rows = min(_GROUP, tokens - top)
                    group = slice(start + top, start + top + rows)
                    chosen = slice(table + top * columns, table + (top + rows) * columns)
                    before = probabilities[chosen].reshape((rows, columns))
                    copy_rows(joint[group, _QUERIES, head], asked, rows, dims)
                    copy_rows(gradient[group, head], wanted, rows, dims)
                    used[:rows] = before
                    of_scores[:], of_asked[:] = 0, 0
                    add_product(wanted, wanted.shape[1], 1, values, of_scores, rows, dims)
                    if work.noise:
                        _multiply(used, noise[chosen], rows * columns)
                        _multiply(of_scores, noise[chosen], rows * columns)
                    _softmax_back(of_scores, before, columns, rows, _scale(dims))
                    add_product(used, 1, columns, wanted, of_values, tokens, rows)
                    add_product(of_scores, 1, columns, asked, of_keys, tokens, rows)
                    add_product(of_scores, columns, 1, keys, of_asked, rows, tokens)
                    copy_rows(of_asked, of_joint[group, _QUERIES, head], rows, dims)
                copy_rows(of_keys, of_joint[start : start + tokens, _KEYS, head], tokens, dims)
                copy_rows(of_values, of_joint[start : start + tokens, _VALUES, head], tokens, dims)
            first, last = next_range(given)

    return Task(return_heads, *_TOLD, "probabilities", "gradient", "of_joint")


@compiled
def _views(work: Any, kind: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give all parts, [rows, parts, heads, dims], and where sentences and their tables begin."""
    num_starts = work.num_pieces // work.heads + 1
    joint = carray(pointer(work.joint), (work.rows, 3, work.heads, work.dims), kind)
    starts = carray(pointer(work.starts), num_starts, np.int64)
    return joint, starts, carray(pointer(work.tables), num_starts, np.int64)


@compiled
def _scale(dims: int) -> np.float32:
    return np.float32(1 / np.sqrt(dims))


@compiled
def _attend(
    asked: Float32[np.ndarray, "_group _dims"],
    keys: Float32[np.ndarray, "_dims columns"],
    scores: Float32[np.ndarray, "_group columns"],
    num_rows: int,
    num_tokens: int,
    dims: int,
) -> None:
    """Write the probabilities of a group of queries into `scores`."""
    scores[:] = 0
    add_product(asked, asked.shape[1], 1, keys, scores, num_rows, dims)
    _softmax(scores, scores.shape[1], num_rows, num_tokens, _scale(dims))


def _build_softmax(
    builder: ir.IRBuilder, scores: ir.Value, columns: ir.Value, rows: ir.Value, tokens: ir.Value, scale: ir.Value
) -> None:
    lowest, scale = all_of(-math.inf), everywhere(builder, scale, VECTOR)
    with cgutils.for_range(builder, rows) as row:
        scores_of_row = builder.gep(scores, [builder.mul(row.index, columns)])
        top, weight = variable(builder, lowest), variable(builder, all_of(0.0))
        with every_vector(builder, tokens) as i:
            is_token = are_before(builder, builder.sub(tokens, i))
            score = builder.select(is_token, builder.fmul(loaded(builder, scores_of_row, i), scale), lowest)
            store(builder, score, scores_of_row, i)
            builder.store(larger(builder, builder.load(top), score), top)
        highest = everywhere(builder, largest(builder, builder.load(top)), VECTOR)
        with every_vector(builder, tokens) as i:
            power = exponential(builder, builder.fsub(loaded(builder, scores_of_row, i), highest))
            store(builder, power, scores_of_row, i)
            builder.store(builder.fadd(builder.load(weight), power), weight)
        share = builder.fdiv(ir.FloatType()(1.0), total(builder, builder.load(weight)))
        share = everywhere(builder, share, VECTOR)
        with every_vector(builder, tokens) as i:
            store(builder, builder.fmul(loaded(builder, scores_of_row, i), share), scores_of_row, i)


def _build_softmax_back(
    builder: ir.IRBuilder,
    gradients: ir.Value,
    probabilities: ir.Value,
    columns: ir.Value,
    rows: ir.Value,
    scale: ir.Value,
) -> None:
    scale = everywhere(builder, scale, VECTOR)
    with cgutils.for_range(builder, rows) as row:
        start = builder.mul(row.index, columns)
        gradient, shares = builder.gep(gradients, [start]), builder.gep(probabilities, [start])
        shared = variable(builder, all_of(0.0))
        with every_vector(builder, columns) as i:
            both = loaded(builder, gradient, i), loaded(builder, shares, i)
            builder.store(added_product(builder, builder.load(shared), *both), shared)
        mean = everywhere(builder, total(builder, builder.load(shared)), VECTOR)
        with every_vector(builder, columns) as i:
            difference = builder.fsub(loaded(builder, gradient, i), mean)
            scaled = builder.fmul(builder.fmul(difference, loaded(builder, shares, i)), scale)
            store(builder, scaled, gradient, i)


def _build_multiply(builder: ir.IRBuilder, x: ir.Value, factors: ir.Value, columns: ir.Value) -> None:
    with every_vector(builder, columns) as i:
        store(builder, builder.fmul(loaded(builder, x, i), loaded(builder, factors, i)), x, i)


_softmax = instruction(types.void, _build_softmax)
"""Makes, in place, of rows of so many tokens' scores their softmax, and of what fills up a row's last vector 0."""
_softmax_back = instruction(types.void, _build_softmax_back)
"""Makes, in place, of rows of gradients of probabilities the gradients of the scores before their scale."""
_multiply = instruction(types.void, _build_multiply)
"""Multiplies so many numbers, of whole vectors, by factors, in place."""
