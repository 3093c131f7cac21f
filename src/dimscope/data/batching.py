"""Sentences as token ids, and batches of sentences of similar length, so that little is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int, Int64
from transformers import PreTrainedTokenizerBase

from dimscope.core.errors import UserError
from dimscope.core.memory import give_back_freed_memory
from dimscope.core.progress import work
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.data.task import Split

TOKENS_PER_BATCH = 2520
"""Of a batch that is only looked at. Many lengths divide it: padding to one of them costs little."""
BATCHES_BETWEEN_TRIMS = 4
"""After so many batches, memory that lies free goes back to the system: so the peak does not grow with their number."""
_SENTENCES_AT_ONCE = 512
"""That are tokenized: of four times as many the tokenizer leaves 20 MiB of gaps behind."""


class Rows(Sequence[np.ndarray]):
    """Rows of different lengths in one piece of memory: as an array each, short ones would take three times as much.

    >>> [row.tolist() for row in Rows([np.array([5, 6]), np.array([7])])]
    [[5, 6], [7]]
    """

    def __init__(self, rows: Sequence[Sequence[int] | np.ndarray]) -> None:
        self._ends = np.cumsum([len(each) for each in rows], dtype=np.int64)
        self._values = np.fromiter(chain.from_iterable(rows), np.int32, self._ends[-1] if len(rows) else 0)

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Give the rows of all parts."""
        rows = cls([])
        rows._ends = np.cumsum(np.concatenate([rows._ends, *(np.diff(each._ends, prepend=0) for each in parts)]))
        rows._values = np.concatenate([rows._values, *(each._values for each in parts)])
        return rows

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: Any) -> Any:
        """Give row 0, 1, …; it is a view."""
        return self._values[self._ends[row - 1] if row else 0 : self._ends[row]]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Token ids of every sentence, with the type of every token (first or second text) where the model has types.

    `num_truncated` sentences were cut; `num_empty` had no token at all and stand for one that begins or ends a text.
    """

    ids: Sequence[Int[np.ndarray, " _tokens"]]
    types: Sequence[Int[np.ndarray, " _tokens"]] | None
    num_truncated: int
    num_empty: int

    @cached_property
    def lengths(self) -> Int64[np.ndarray, " sentences"]:
        """The number of tokens of every sentence."""
        return np.array([len(each) for each in self.ids], np.int64)


def encode(tokenizer: PreTrainedTokenizerBase, split: Split, max_length: int) -> Encoded:
    """Turn sentences into token ids with the model's own special tokens; of a pair the longer text is cut first.

    Raises:
        UserError: the model has no token for an empty text.
    """
    ids: list[Rows] = []
    types: list[Rows] = []
    num_truncated = num_empty = 0
    with work("tokenizing", len(split)) as done:
        for start in range(0, len(split), _SENTENCES_AT_ONCE):
            part = slice(start, start + _SENTENCES_AT_ONCE)
            batch = tokenizer(
                list(split.texts[part]),
                list(split.pairs[part]) if split.pairs else None,
                truncation="longest_first",
                max_length=max_length,
                return_attention_mask=False,
            )
            ids.append(Rows([each or _token_for_nothing(tokenizer) for each in batch["input_ids"]]))
            types.append(Rows([each or [0] for each in batch.get("token_type_ids", [])]))
            num_truncated += sum(bool(each.overflowing) for each in batch.encodings)
            num_empty += sum(not each for each in batch["input_ids"])
            done(len(batch["input_ids"]))
    joined = Rows.joined(types)
    return Encoded(Rows.joined(ids), joined if len(joined) else None, num_truncated, num_empty)


def pad(
    encoded: Encoded,
    indices: Int[np.ndarray, " batch"],
    pad_id: int,
    side: Literal["left", "right"] = "right",
    num_tokens: int = 0,
) -> dict[str, Int64[torch.Tensor, "batch tokens"]]:
    """Lay the sentences at these places out as one batch: input_ids, attention_mask and, if there are, token_type_ids.

    It has as many tokens as the longest sentence, or `num_tokens` if that is more.

    >>> encoded = Encoded([np.array([5, 6]), np.array([7])], None, 0, 0)
    >>> pad(encoded, np.array([1, 0]), pad_id=9)["input_ids"].tolist()
    [[7, 9], [5, 6]]
    """
    ids = [encoded.ids[index] for index in indices]
    layers = {"input_ids": (ids, pad_id), "attention_mask": ([np.ones_like(each) for each in ids], 0)}
    if encoded.types:
        layers["token_type_ids"] = ([encoded.types[index] for index in indices], 0)
    num_tokens = max(num_tokens, *(len(each) for each in ids))
    return {name: _laid_out(rows, filler, side, num_tokens) for name, (rows, filler) in layers.items()}


def first_sentences(
    encoded: Encoded, pad_id: int, num_sentences: int = 16
) -> dict[str, Int64[torch.Tensor, "batch tokens"]]:
    """Lay the first sentences out as one batch to compare two models by; where there are fewer, they come again."""
    return pad(encoded, np.arange(num_sentences) % len(encoded.ids), pad_id)


def padded_batches(
    encoded: Encoded, pad_id: int, most: int, max_sentences: int | None = None, *, padding_counts: bool = True
) -> Iterator[tuple[Int64[np.ndarray, " batch"], dict[str, Int64[torch.Tensor, "batch tokens"]]]]:
    """Lay all sentences, or the first of them, out in batches of few shapes, with the places of the sentences of each.

    `most` is the length above which no sentence is padded. For who takes no notice of padding, unless `padding_counts`,
    batches are full of tokens that are none.
    """
    lengths = encoded.lengths[:max_sentences]
    if padding_counts:
        lengths = few_lengths(lengths, most)
        batches = token_batches(lengths, TOKENS_PER_BATCH, max_sentences=TOKENS_PER_BATCH)
    else:
        batches = full_batches(lengths, TOKENS_PER_BATCH)
    for number, indices in enumerate(batches):
        if number % BATCHES_BETWEEN_TRIMS == 0:
            give_back_freed_memory()
        yield indices, pad(encoded, indices, pad_id, num_tokens=lengths[indices[0]])
    give_back_freed_memory()


def prompt_batches(
    pairs: PromptPairs,
) -> Iterator[tuple[Int64[np.ndarray, " batch"], PromptPairs, dict[str, Int64[torch.Tensor, "batch tokens"]]]]:
    """Give the prompts in batches of similar length: which pairs they are, these pairs, and what the model takes."""
    lengths = pairs.mask.sum(axis=1)
    for indices in token_batches(lengths, TOKENS_PER_BATCH):
        chosen, shown = pairs.at(indices), slice(lengths[indices].max())
        layers = {"input_ids": chosen.ids, "attention_mask": chosen.mask}
        yield indices, chosen, {name: torch.from_numpy(values[:, shown]) for name, values in layers.items()}


def few_lengths(lengths: Int[np.ndarray, " sentences"], most: int) -> Int64[np.ndarray, " sentences"]:
    """Give the lengths to which sentences are padded: those that divide a batch, so that all have as many tokens.

    What is kept for a shape, by the allocator and by the processor's library, is kept for each: with as many shapes as
    lengths it comes to a gigabyte. No length is above `most`, or else the sentence's own.

    >>> few_lengths(np.array([3, 21, 22, 120, 600]), most=128).tolist()
    [4, 21, 24, 120, 600]
    """
    steps = np.array([*(each for each in range(4, most) if TOKENS_PER_BATCH % each == 0), most])
    return np.maximum(lengths, steps[np.searchsorted(steps, np.minimum(lengths, most))]).astype(np.int64)


def token_batches(
    lengths: Int[np.ndarray, " sentences"], max_tokens: int, max_sentences: int = 256
) -> list[Int64[np.ndarray, " _batch"]]:
    """Part all sentences into batches, longest first, of at most so many tokens (padding counts) and sentences.

    A sentence that is longer than `max_tokens` is a batch of its own.

    >>> [batch.tolist() for batch in token_batches(np.array([2, 5, 1, 2]), max_tokens=5)]
    [[1], [0, 3], [2]]
    """
    order = np.argsort(-lengths, kind="stable")
    batches = []
    while len(order):
        size = max(1, min(max_sentences, max_tokens // lengths[order[0]]))
        batches.append(order[:size])
        order = order[size:]
    return batches


def full_batches(lengths: Int[np.ndarray, " sentences"], max_tokens: int) -> list[Int64[np.ndarray, " _batch"]]:
    """Part all sentences into batches, longest first, of at most so many tokens; padding does not count.

    A sentence that is longer than `max_tokens` is a batch of its own.

    >>> [batch.tolist() for batch in full_batches(np.array([2, 5, 1, 3]), max_tokens=5)]
    [[1], [3, 0], [2]]
    """
    order = np.argsort(-lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    batches, start = [], 0
    while start < len(order):
        taken = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, taken + max_tokens, side="right")))
        batches.append(order[start:stop])
        start = stop
    return batches


def shuffled_length_batches(
    lengths: Int[np.ndarray, " sentences"], batch_size: int, rng: np.random.Generator, pool: int = 50
) -> list[Int64[np.ndarray, " _batch"]]:
    """Part all sentences into batches in random order, each of sentences of similar length; one batch may be short.

    Shuffled sentences are cut into pools of `pool` batches, and only within a pool are they sorted by length.
    """
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), pool * batch_size):
        members = order[start : start + pool * batch_size]
        by_length = members[np.argsort(lengths[members], kind="stable")]
        batches += [by_length[first : first + batch_size] for first in range(0, len(by_length), batch_size)]
    return [batches[place] for place in rng.permutation(len(batches))]


def _token_for_nothing(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Give the token that begins, or else ends, a text."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return [token]
    raise UserError("some texts are empty, and the model has no token that begins or ends a text: leave them out")


def _laid_out(
    rows: Sequence[np.ndarray], filler: int, side: Literal["left", "right"], width: int
) -> Int64[torch.Tensor, "batch tokens"]:
    out = np.full((len(rows), width), filler, np.int64)
    for line, row in zip(out, rows, strict=True):
        line[slice(len(row)) if side == "right" else slice(width - len(row), width)] = row
    return torch.from_numpy(out)
