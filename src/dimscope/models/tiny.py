"""Tiny random models of every family, with a small tokenizer of their own: they open like any other model.

Their weights are spread widely (0.2 instead of 0.02): at the usual spread a random model's states hardly
depend on the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from dimscope.core import seeds
from dimscope.core.errors import UnknownName
from dimscope.models.families import FAMILIES
from dimscope.models.quiet import quiet
from dimscope.models.word_pieces import word_pieces

VERSION = 2
"""Raised when the weights or tokens of the tiny models change, so that none is taken from an old cache."""
_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "tie_word_embeddings": True,  # so that a decoder is a language model without weights of its own
}
_WORDS = "the a film plot actor story scene is was seems feels very so not good bad great dull funny sad"
TEXTS = tuple(f"{first} {second}" for first in _WORDS.split() for second in _WORDS.split())


def write_tiny(family: str, folder: Path, texts: Iterable[str] = TEXTS, seed: int = 0) -> None:
    """Write a random model into `folder` in Hugging Face's layout, its tokenizer trained on `texts`.

    It has no classifier head yet: `load` gives it one, as it does with a published model.

    Raises:
        UnknownName: there is no such family.
    """
    if family not in FAMILIES:
        raise UnknownName("tiny family", family, FAMILIES)
    recipe = FAMILIES[family]
    tokenizer = _TOKENIZERS[recipe.tokenizer](texts)
    special = {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos", "cls", "sep")
    }
    sizes = {**_SIZES, **special, "vocab_size": len(tokenizer), **recipe.config}
    config = AutoConfig.for_model(recipe.model_type, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seeds.integer(seed, f"tiny/{family}"))
        model = AutoModelForSequenceClassification.from_config(config).base_model
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _framed_bytes(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """RoBERTa's kind: byte pairs between <s> and </s>; the pad token is number 1."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = _byte_pairs(texts, special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), special, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, cls_token="<s>", sep_token="</s>", **names
    )


def _bytes(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """GPT-2's kind: byte pairs and nothing around them; no pad token."""
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(
        tokenizer_object=_byte_pairs(texts, [end]), model_max_length=64, bos_token=end, eos_token=end
    )


def _byte_pairs(texts: Iterable[str], special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=360, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    return tokenizer


_TOKENIZERS = {"wordpiece": word_pieces, "framed_bytes": _framed_bytes, "bytes": _bytes}
