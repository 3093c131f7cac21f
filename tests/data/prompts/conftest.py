"""Tokenizers that write the prompts' words as one token each, and numbers in a chosen way."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

import dimscope.data.prompts.catalogue as catalogue

_DIGITS = {"each": r" |\d", "two": r" ?\d{2}", "three": r" ?\d{3}"}
SOURCES = sorted(Path(catalogue.__file__).parent.glob("*.py"))


@pytest.fixture(scope="session")
def tokenizer() -> Callable[..., PreTrainedTokenizerFast]:
    """Make byte pairs of every word in the prompts' sources, but of some; `begins` puts a token before every text."""

    @cache
    def make(digits: str = "each", without: tuple[str, ...] = (), begins: bool = False) -> PreTrainedTokenizerFast:
        words = {word for path in SOURCES for word in re.findall(r"[A-Za-z]+", path.read_text())}
        words |= {word.capitalize() for word in words}
        numbers = [text for number in range(100) for text in (f"{number:02d}", f" {number:02d}")]
        made = Tokenizer(models.BPE())
        at_digits = pre_tokenizers.Split(Regex(_DIGITS[digits]), "isolated")
        if digits == "each":
            at_digits = pre_tokenizers.Digits(individual_digits=True)
        made.pre_tokenizer = pre_tokenizers.Sequence([at_digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=20000,
            special_tokens=["<end>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        texts = [f" {word}" for word in sorted(words - set(without))] + [*numbers, "Q", "A", "Question", "Answer"]
        made.train_from_iterator(texts, trainer)
        if begins:
            made.post_processor = processors.TemplateProcessing(single="<end> $A", special_tokens=[("<end>", 0)])
        return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>", pad_token="<end>")

    return make
