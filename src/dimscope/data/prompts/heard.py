"""All that is written when prompts are made: what the vocabulary of a new model must hold.

The sets ask the tokenizer for every word that they could use before they draw from those that are one token, so whoever
listens hears them all: names, colors, numbers, subjects and objects; and the sentences, as they are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import BatchEncoding, PreTrainedTokenizerBase

from dimscope.data.prompts.catalogue import PROMPTS, make_prompts

_NUM_PAIRS = 500
"""So many that no sentence, place or object of a set is left out."""
_ANY_TOKENS = ("induction",)
"""Sets that take their tokens from the vocabulary and bring no words."""


def heard_texts(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Give all texts that a tokenizer is asked to write for all sets of prompts.

    To the tokenizer every word must be one token; it may know none of them.
    """
    listening: Any = _Listening(tokenizer)
    for name in PROMPTS:
        if name not in _ANY_TOKENS:
            make_prompts(name, listening, _NUM_PAIRS, seed=0)
    return sorted(listening.heard)


class _Listening:
    """A tokenizer that remembers what it wrote."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.pad_token_id = tokenizer.pad_token_id
        self.heard: set[str] = set()

    def __call__(self, texts: Sequence[str]) -> BatchEncoding:
        self.heard.update(texts)
        return self._tokenizer(texts)
