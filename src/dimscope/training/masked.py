"""Pretraining of an encoder from nothing by masked language modeling: to tell the hidden words of a sentence.

Devlin et al. 2019 (1810.04805, section 3.1, task 1): of the chosen tokens 80 % are hidden by [MASK], 10 % replaced by
any token, 10 % left as they are. We differ: there is no second task on pairs of sentences, other tokens are hidden at
every visit (as in Liu et al. 2019, 1907.11692, section 4.1), and scores are computed for the chosen tokens alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import BertForMaskedLM, DataCollatorForLanguageModeling, PreTrainedTokenizerBase, get_scheduler

from dimscope.core import seeds
from dimscope.core.memory import keep_freed_memory
from dimscope.core.progress import work
from dimscope.data.batching import Encoded, shuffled_length_batches, token_batches
from dimscope.training.loop import random_numbers, require_finite
from dimscope.training.settings import PrecisionSettings

_NOT_CHOSEN = -100
"""What transformers' collator writes where nothing is to be told."""
_TOKENS_AT_ONCE = 4096

Masked = Mapping[str, Tensor]
"""A batch with hidden tokens: `input_ids`, `attention_mask`, perhaps `token_type_ids`, and `labels`."""
Masking = Callable[[Int[np.ndarray, " batch"]], Masked]


class MaskedSettings(PrecisionSettings):
    """AdamW on the cross-entropy of hidden tokens; the learning rate rises, then falls to 0 along a line."""

    steps: int = Field(2000, ge=0)
    """Optimizer steps; 0 leaves the random start."""
    batch_size: int = Field(32, ge=1)
    """Sentences per optimizer step."""
    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decoupled weight decay, on every parameter."""
    warmup_fraction: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    masked_fraction: float = Field(0.15, gt=0, lt=1)
    """Share of the tokens that are to be told."""


@dataclass(frozen=True)
class Told:
    """For every hidden token the loss in nats, the token that was told, and the right one."""

    losses: Float[np.ndarray, " hidden"]
    answers: Int[np.ndarray, " hidden"]
    targets: Int[np.ndarray, " hidden"]


def masking(tokenizer: PreTrainedTokenizerBase, encoded: Encoded, fraction: float, seed: int) -> Masking:
    """Give what lays sentences out as a batch with hidden tokens, other ones at every call."""
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=fraction, seed=seed)

    def masked(indices: Int[np.ndarray, " batch"]) -> Masked:
        batch: Masked = collator([_row(encoded, index) for index in indices])
        return batch

    return masked


def pretrain(
    model: BertForMaskedLM,
    encoded: Encoded,
    tokenizer: PreTrainedTokenizerBase,
    settings: MaskedSettings,
    seed: int,
    after_step: Callable[[int], None] = lambda step: None,
) -> Float[np.ndarray, " steps"]:
    """Train in place and give the loss of every step.

    `after_step` is called with 0 before the first step, then with 1, 2, … The model is in evaluation mode then, and is
    left so.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    keep_freed_memory()
    masked = masking(tokenizer, encoded, settings.masked_fraction, seeds.integer(seed, "masks"))
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    num_warmup = round(settings.warmup_fraction * settings.steps)
    schedule = get_scheduler("linear", optimizer, num_warmup, settings.steps)
    batches = _batches(encoded, settings.batch_size, seed)
    losses: list[float] = []
    with random_numbers(model.device, seed), work("pretraining steps", settings.steps) as done:
        after_step(0)
        for step in range(1, settings.steps + 1):
            model.train()
            losses.append(_step(model, masked(next(batches)), settings.precision == "bfloat16"))
            require_finite(losses, settings.learning_rate, settings.precision)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            model.eval()
            after_step(step)
            done(1)
    return np.array(losses)


@torch.inference_mode()
def told(model: BertForMaskedLM, masked: Masking, lengths: Int[np.ndarray, " sentences"]) -> Told:
    """Let the model tell the hidden tokens of all sentences, without dropout."""
    losses, answers, targets = [], [], []
    for indices in token_batches(lengths, _TOKENS_AT_ONCE):
        logits, right = _logits(model, masked(indices))
        losses.append(cross_entropy(logits, right, reduction="none"))
        answers.append(logits.argmax(dim=1))
        targets.append(right)
    return Told(*(torch.cat(each).cpu().numpy() for each in (losses, answers, targets)))


def _step(model: BertForMaskedLM, batch: Masked, in_bfloat16: bool) -> float:
    with torch.autocast(model.device.type, torch.bfloat16, enabled=in_bfloat16):
        logits, targets = _logits(model, batch)
    # A batch of few short sentences may have nothing hidden: its loss is 0, not nan.
    loss = cross_entropy(logits.float(), targets, reduction="sum") / max(len(targets), 1)
    loss.backward()
    return loss.item()


def _logits(model: BertForMaskedLM, batch: Masked) -> tuple[Float[Tensor, "hidden tokens"], Int[Tensor, " hidden"]]:
    """Give the scores of all tokens for each hidden one, and the right one; other places are not computed."""
    inputs = {name: values.to(model.device) for name, values in batch.items()}
    targets = inputs.pop("labels")
    chosen = targets != _NOT_CHOSEN
    return model.cls(model.bert(**inputs).last_hidden_state[chosen]), targets[chosen]


def _row(encoded: Encoded, index: int) -> dict[str, Any]:
    row = {"input_ids": encoded.ids[index].tolist()}
    if encoded.types:
        row["token_type_ids"] = encoded.types[index].tolist()
    return row


def _batches(encoded: Encoded, batch_size: int, seed: int) -> Iterator[Int[np.ndarray, " batch"]]:
    """Give batches of sentences of similar length without end, every sentence once before any comes again."""
    epoch = 0
    while True:
        yield from shuffled_length_batches(encoded.lengths, batch_size, seeds.stream(seed, f"order/{epoch}"))
        epoch += 1
