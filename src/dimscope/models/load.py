"""A model with its tokenizer, opened as a sequence classifier or a language model: no pickles, no foreign code."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from dimscope.core import seeds
from dimscope.core.errors import UserError
from dimscope.models.blocks import blocks, head, maps, size
from dimscope.models.catalogue import ModelSource, find
from dimscope.models.folders import FILES, folder
from dimscope.models.quiet import quiet
from dimscope.models.sites import Sites, sites
from dimscope.store.files import sha256


@dataclass(frozen=True, eq=False)
class Network:
    """A model and its tokenizer; `is_decoder` says that no token sees those after it.

    The model is a sequence classifier, or a language model: a classifier whose classes are its vocabulary.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    is_decoder: bool

    @property
    def hidden_size(self) -> int:
        """The number of dims of a hidden state."""
        return self.model.config.hidden_size

    @property
    def num_layers(self) -> int:
        """The number of blocks that a token passes."""
        return self.model.config.num_hidden_layers

    @property
    def num_labels(self) -> int:
        """The number of classes."""
        return self.head.out_features

    @property
    def num_heads(self) -> int:
        """The number of attention heads in a block."""
        return self.model.config.num_attention_heads

    @cached_property
    def head_dim(self) -> int:
        """The number of dims that a head gives."""
        _, ((first_block, _), *_) = blocks(self.model)
        return size(maps(first_block, self.hidden_size).attention_out)[1] // self.num_heads

    @cached_property
    def num_kv_heads(self) -> int:
        """The number of heads that keys and values have; fewer than `num_heads` where heads share them.

        Raises:
            UnknownName: the attention is built in a way not known here, so that there are no sites q, k and v.
        """
        return self.sites["layers.0.attn.k"].num_heads

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def pad_id(self) -> int:
        """The token that fills up a batch; the attention mask, not this, says what is padding."""
        return int(self.tokenizer.pad_token_id)

    @property
    def max_length(self) -> int:
        """The greatest number of tokens that model and tokenizer take."""
        num_positions = getattr(self.model.config, "max_position_embeddings", sys.maxsize)
        return int(min(self.tokenizer.model_max_length, num_positions - self.position_offset))

    @property
    def head(self) -> nn.Linear:
        """The linear map that makes the logits."""
        return head(self.model)

    @property
    def sites(self) -> Sites:
        """The places inside that can be read and changed."""
        return sites(self.model)

    @cached_property
    def position_offset(self) -> int:
        """The position of a sentence's first token: RoBERTa and MPNet count on from their padding index."""
        named = self.model.base_model.named_modules()
        tables = [part for name, part in named if "position" in name and isinstance(part, nn.Embedding)]
        return next((table.padding_idx + 1 for table in tables if table.padding_idx is not None), 0)

    @cached_property
    def accepts(self) -> frozenset[str]:
        """The names of the inputs that the model takes."""
        return frozenset(signature(self.model.base_model.forward).parameters)


def load(
    source: ModelSource | str,
    num_labels: int = 2,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Network:
    """Open a model as a classifier of `num_labels` classes, in evaluation mode.

    A head that the files bring is kept if it has as many classes; otherwise it is drawn from `seed`, stream
    'head', as is a missing pooler. The global random numbers are not touched.

    >>> network = load("tiny/gpt2", num_labels=3, seed=1)
    >>> network.hidden_size, network.num_labels, network.is_decoder
    (32, 3, True)

    Raises:
        UnknownName: there is no such model.
        UserError: the files cannot be fetched or opened, hold pickles only, or lack weights of the blocks; or the
            model is an encoder-decoder, or does not run on token ids and a mask alone.
    """

    def classifier(place: Path) -> PreTrainedModel:
        with torch.random.fork_rng(devices=[]):
            # Only the CPU's generator: `torch.manual_seed` would set those of all devices.
            torch.default_generator.manual_seed(seeds.integer(seed, "head"))
            kind = AutoModelForSequenceClassification
            model, drawn = _model(kind, place, dtype, num_labels=num_labels, ignore_mismatched_sizes=True)
        inside = f"{model.base_model_prefix}."
        _require_all(place, [key for key in drawn if key.startswith(inside) and "pooler" not in key])
        return model

    return _opened(source, classifier, device)


def load_language_model(
    source: ModelSource | str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Network:
    """Open a decoder with its language model's head, in evaluation mode: its classes are the tokens of its vocabulary.

    >>> network = load_language_model("tiny/llama")
    >>> network.num_labels == network.model.config.vocab_size
    True

    Raises:
        UnknownName: there is no such model.
        UserError: as `load`; or the model is an encoder, or its files lack the head.
    """

    def language_model(place: Path) -> PreTrainedModel:
        model, drawn = _model(AutoModelForCausalLM, place, dtype)
        if not is_causal(model):
            raise UserError(
                f"{str(place)!r} is an encoder, which predicts no next token: wanted a decoder, such as smollm2 or gpt2"
            )
        _require_all(place, drawn)
        return model

    return _opened(source, language_model, device)


def load_tokenizer(source: ModelSource | str) -> PreTrainedTokenizerBase:
    """Open the tokenizer of a model alone; where it has no pad token, its end token stands in.

    >>> load_tokenizer("tiny/gpt2").pad_token
    '<|endoftext|>'

    Raises:
        UnknownName: there is no such model.
        UserError: there is no tokenizer in its folder, or one without pad and end token.
    """
    place = folder(find(source) if isinstance(source, str) else source)
    with quiet(), _opening("tokenizer", place):
        return _tokenizer(place)


# Weights made within a caller's inference mode could never be trained.
@torch.inference_mode(mode=False)
def _opened(
    source: ModelSource | str, model_at: Callable[[Path], PreTrainedModel], device: torch.device | str
) -> Network:
    source = find(source) if isinstance(source, str) else source
    place = folder(source)
    with quiet():
        with _opening("config", place):
            _require_one_stack(AutoConfig.from_pretrained(place, trust_remote_code=False))
        with _opening("tokenizer", place):
            tokenizer = _tokenizer(place)
        with _opening("model", place):
            model = model_at(place)
            is_decoder = is_causal(model)
    if len(tokenizer) > model.config.vocab_size:
        raise UserError(
            f"{source.name!r}: the model knows {model.config.vocab_size} tokens, but its tokenizer has "
            f"{len(tokenizer)}. Put the model's own tokenizer into its folder."
        )
    network = Network(source.name, model, tokenizer, is_decoder)
    if not network.position_offset:  # else the config's own id is what a reopened model counts its positions from
        model.config.pad_token_id = tokenizer.pad_token_id
    nn.Module.to(model, device)
    return network


def digest(source: ModelSource) -> str:
    """Give what identifies the weights, config and tokenizer: the hub's commit, or a SHA-256 of the files."""
    place = folder(source)
    if source.kind == "hub":
        return place.name
    files = sorted(file for pattern in FILES for file in place.glob(pattern))
    return hashlib.sha256("\n".join(f"{file.name} {sha256(file)}" for file in files).encode()).hexdigest()


@contextmanager
def _opening(what: str, place: Path) -> Iterator[None]:
    """Within the block, whatever damaged files or a model's own code raise becomes a refusal with its reason."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # Other libraries' second lines are lists of hundreds of classes, and stacks.
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"cannot open the {what} in {str(place)!r}: {type(error).__name__}: {reason} "
            "Look at the files there, or take a model of another family"
        ) from error


def _require_one_stack(config: PretrainedConfig) -> None:
    if config.is_encoder_decoder:
        raise UserError(
            f"{config.model_type} models are encoder-decoders: wanted an encoder or a decoder alone, whose blocks are "
            "one stack. Take a model of another family"
        )


def _tokenizer(place: Path) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise UserError(f"{str(place)!r} holds no tokenizer. Put the model's own (tokenizer.json) into the folder")
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise UserError(f"the tokenizer in {str(place)!r} has neither a pad nor an end token. Give it one.")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _model(kind: Any, place: Path, dtype: torch.dtype, **how: Any) -> tuple[PreTrainedModel, list[str]]:
    """Open a model as one of transformers' kinds; give the names of the weights that its files lack, too."""
    model, report = kind.from_pretrained(
        place, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **how
    )
    return model.eval(), sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})


def _require_all(place: Path, lacking: list[str]) -> None:
    if lacking:
        raise UserError(
            f"the weights in {str(place)!r} lack {len(lacking)} tensors that its config.json asks for, "
            f"such as {lacking[0]!r}. Take a folder whose files belong together."
        )


@torch.inference_mode()
def is_causal(model: PreTrainedModel) -> bool:
    """Tell whether the first token's state is blind to those after it; configs do not say it reliably."""
    ids = torch.full((2, 8), 5, device=model.device)
    ids[1, 1:] = 6
    hidden = model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    return torch.allclose(hidden[0, 0], hidden[1, 0], atol=1e-6)
