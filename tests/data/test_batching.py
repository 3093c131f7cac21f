from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from dimscope.core.errors import UserError
from dimscope.data import batching
from dimscope.data.batching import (
    TOKENS_PER_BATCH,
    Encoded,
    Rows,
    encode,
    full_batches,
    pad,
    padded_batches,
    shuffled_length_batches,
    token_batches,
)
from dimscope.data.task import Split

WORDS = {name: number for number, name in enumerate(["[PAD]", "[CLS]", "[SEP]", *"abcdefgh"])}
LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=200).map(np.array)


def tokenizer(encoder: bool, **special: str) -> PreTrainedTokenizerFast:
    """One word, one token: a is 3, b is 4, …; an encoder's also has [CLS] 1 and [SEP] 2 around them."""
    words = Tokenizer(models.WordLevel(WORDS, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if encoder:
        words.post_processor = processors.TemplateProcessing(
            "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 1), ("[SEP]", 2)]
        )
    names = ["input_ids", "token_type_ids", "attention_mask"] if encoder else ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=words, model_input_names=names, pad_token="[PAD]", **special)


def split_of(texts: str, pairs: str | None = None) -> Split:
    firsts = tuple(texts.split("|"))
    return Split(firsts, np.zeros(len(firsts), np.int64), tuple(pairs.split("|")) if pairs is not None else None)


def listed(rows: object) -> list[list[int]]:
    return [row.tolist() for row in rows]


def test_special_tokens_are_added_and_long_texts_are_cut():
    encoded = encode(tokenizer(encoder=True), split_of("a b|c d e f|a b c||"), max_length=5)
    assert listed(encoded.ids) == [[1, 3, 4, 2], [1, 5, 6, 7, 2], [1, 3, 4, 5, 2], [1, 2], [1, 2]]
    assert listed(encoded.types) == [[0] * 4, [0] * 5, [0] * 5, [0] * 2, [0] * 2]
    assert encoded.lengths.tolist() == [4, 5, 5, 2, 2]
    assert (encoded.num_truncated, encoded.num_empty) == (1, 0)


def test_of_a_pair_the_longer_text_is_cut_and_types_tell_them_apart():
    encoded = encode(tokenizer(encoder=True), split_of("a b c d|a", "e|e f g h"), max_length=6)
    assert listed(encoded.ids) == [[1, 3, 4, 2, 7, 2], [1, 3, 2, 7, 8, 2]]
    assert listed(encoded.types) == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]]
    assert encoded.num_truncated == 2


def test_a_text_without_tokens_is_given_one():
    encoded = encode(tokenizer(encoder=False, bos_token="b", eos_token="c"), split_of("d||e"), max_length=4)
    assert listed(encoded.ids) == [[6], [4], [7]]
    assert (encoded.types, encoded.num_empty) == (None, 1)
    assert listed(encode(tokenizer(encoder=False, eos_token="c"), split_of(""), 4).ids) == [[5]]
    with pytest.raises(UserError, match="some texts are empty"):
        encode(tokenizer(encoder=False), split_of("d|"), max_length=4)


def test_parts_that_are_tokenized_at_once_make_no_difference(monkeypatch: pytest.MonkeyPatch):
    split = split_of("a b|c|d e f|g|h a b c d", "a|b c d e f|d||e f")
    whole = encode(tokenizer(encoder=True), split, max_length=7)
    monkeypatch.setattr(batching, "_SENTENCES_AT_ONCE", 2)
    parts = encode(tokenizer(encoder=True), split, max_length=7)
    assert listed(parts.ids) == listed(whole.ids)
    assert listed(parts.types) == listed(whole.types)
    assert parts.num_truncated == whole.num_truncated == 2


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_what_the_library_underneath_makes(side: str):
    """The oracle: the tokenizer's own padding."""
    words, split = tokenizer(encoder=True), split_of("a b|c d e f|g", "d|e f|")
    words.padding_side = side
    encoded = encode(words, split, max_length=16)
    indices = np.array([2, 0, 1, 0])
    expected = words(
        [split.texts[index] for index in indices],
        [split.pairs[index] for index in indices],
        padding=True,
        return_tensors="pt",
    )
    batch = pad(encoded, indices, pad_id=0, side=side)
    assert batch.keys() == expected.keys()
    for name, values in batch.items():
        assert values.dtype == torch.int64
        assert torch.equal(values, expected[name])


def test_the_pad_id_is_the_models():
    encoded = Encoded([np.array([5, 6], np.int32), np.array([0], np.int32)], None, 0, 0)
    batch = pad(encoded, np.array([1, 0]), pad_id=7)
    assert batch["input_ids"].tolist() == [[0, 7], [5, 6]]
    assert batch["attention_mask"].tolist() == [[1, 0], [1, 1]]
    assert "token_type_ids" not in batch


@given(LENGTHS, st.integers(1, 200), st.integers(1, 20))
def test_batches_of_tokens_hold_everything_once_and_no_more_than_allowed(
    lengths: np.ndarray, max_tokens: int, max_sentences: int
):
    batches = token_batches(lengths, max_tokens, max_sentences)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert np.all(np.diff(lengths[np.concatenate(batches)]) <= 0)
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= max_tokens
        assert len(batch) <= max_sentences
        if following is not None:
            assert len(batch) == max_sentences or (len(batch) + 1) * lengths[batch].max() > max_tokens


def test_full_batches_all_have_as_many_tokens():
    lengths = np.random.default_rng(0).integers(5, 100, 20_000)
    encoded = Encoded(Rows([np.ones(length, np.int32) for length in lengths]), None, 0, 0)
    batches = list(padded_batches(encoded, pad_id=0, most=100))
    tokens = [batch["input_ids"].numel() for _, batch in batches]
    assert sorted(np.concatenate([indices for indices, _ in batches])) == list(range(len(lengths)))
    assert len(set(tokens[1:-1]) - {100 * (TOKENS_PER_BATCH // 100)}) == 1
    assert max(tokens) == TOKENS_PER_BATCH
    assert sum(tokens) < 1.1 * lengths.sum()


@given(LENGTHS, st.integers(1, 200))
def test_full_batches_hold_everything_once_and_have_no_room_for_the_next_sentence(lengths: np.ndarray, max_tokens: int):
    batches = full_batches(lengths, max_tokens)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert np.all(np.diff(lengths[np.concatenate(batches)]) <= 0)
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        assert len(batch) == 1 or lengths[batch].sum() <= max_tokens
        if following is not None:
            assert lengths[batch].sum() + lengths[following[0]] > max_tokens


def test_batches_in_which_padding_does_not_count_are_full_of_tokens():
    lengths = np.random.default_rng(0).integers(5, 100, 20_000)
    encoded = Encoded(Rows([np.ones(length, np.int32) for length in lengths]), None, 0, 0)
    batches = list(padded_batches(encoded, pad_id=0, most=100, padding_counts=False))
    assert sorted(np.concatenate([indices for indices, _ in batches])) == list(range(len(lengths)))
    tokens = [int(batch["attention_mask"].sum()) for _, batch in batches]
    assert all(TOKENS_PER_BATCH - 100 < each <= TOKENS_PER_BATCH for each in tokens[:-1])


@given(LENGTHS, st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))
def test_shuffled_batches_hold_everything_once_and_one_may_be_short(
    lengths: np.ndarray, batch_size: int, pool: int, seed: int
):
    batches, again = (shuffled_length_batches(lengths, batch_size, np.random.default_rng(seed), pool) for _ in range(2))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    sizes = sorted(map(len, batches))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert sizes[1:] == [batch_size] * (len(batches) - 1)
    assert listed(batches) == listed(again)


def test_shuffled_batches_save_padding_and_come_in_random_order():
    lengths = np.random.default_rng(0).integers(5, 60, 3200)
    batches = shuffled_length_batches(lengths, 32, np.random.default_rng(1))

    def num_padded(parts: list[np.ndarray]) -> int:
        return sum(len(part) * lengths[part].max() for part in parts)

    assert num_padded(batches) < 1.05 * lengths.sum()
    assert num_padded(np.split(np.arange(3200), 100)) > 1.7 * lengths.sum()
    means = np.array([lengths[batch].mean() for batch in batches])
    assert abs(np.corrcoef(means, np.arange(100))[0, 1]) < 0.4
    other = shuffled_length_batches(lengths, 32, np.random.default_rng(2))
    assert listed(other) != listed(batches)
