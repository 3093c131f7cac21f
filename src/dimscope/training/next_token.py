"""Training of a decoder from nothing on prompts: to tell the token that follows.

Radford et al. 2019 and all after train on every token of a text. Here the answer's cross-entropy alone is the
objective: what the model gives for the text's own tokens is its own affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, get_scheduler

from dimscope.core import seeds
from dimscope.core.memory import keep_freed_memory
from dimscope.core.method import Settings
from dimscope.core.progress import work
from dimscope.data.prompts.lessons import LOT, Examples, Lessons, with_noise
from dimscope.models.blocks import head
from dimscope.models.quiet import quiet
from dimscope.training.loop import require_finite


class NextTokenSettings(Settings):
    """AdamW on the cross-entropy of what follows, in float32; the learning rate rises, then falls to 0 along a line."""

    steps: int = Field(600, ge=0)
    """Optimizer steps; 0 leaves the random start."""
    batch_size: int = Field(32, ge=1, le=LOT // 2)
    """Prompts of each set per optimizer step."""
    learning_rate: float = Field(5e-3, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decoupled weight decay, on every parameter."""
    warmup_fraction: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    label_noise: float = Field(0.0, ge=0, le=1)
    """Share of the training prompts whose answer is another answer of the same set, drawn anew at every visit."""


def teach(
    model: PreTrainedModel, sets: Sequence[Lessons], settings: NextTokenSettings, seed: int
) -> Float[np.ndarray, "steps sets"]:
    """Train in place and give the loss of every set at every step; the model is left in evaluation mode.

    A step takes a batch of every set, and each set counts the same. What is random is the lessons' and the noise.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    keep_freed_memory()
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    schedule = get_scheduler("linear", optimizer, round(settings.warmup_fraction * settings.steps), settings.steps)
    batches = [_batches(each, settings, seed) for each in sets]
    losses = np.empty((settings.steps, len(sets)))
    model.train()
    # transformers warns of padding without a mask; `loss_of` says why there is none.
    with quiet(), work("training steps", settings.steps) as done:
        for step in range(settings.steps):
            for column, each in enumerate(batches):
                loss = loss_of(model, next(each))
                (loss / len(sets)).backward()
                losses[step, column] = loss.item()
            require_finite(losses.sum(axis=1)[: step + 1], settings.learning_rate, "float32")
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            done(1)
    model.eval()
    return losses


def loss_of(model: PreTrainedModel, examples: Examples) -> Float[Tensor, ""]:
    """Give the mean loss of the answers, in nats."""
    ids, lengths, answers = (
        torch.as_tensor(each, device=model.device) for each in (examples.ids, examples.lengths, examples.answers)
    )
    # No mask: the padding stands behind the texts, where no token of theirs looks.
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    at_end = torch.arange(len(ids), device=model.device), lengths - 1
    return cross_entropy(head(model)(hidden[at_end]), answers)


def _batches(each: Lessons, settings: NextTokenSettings, seed: int) -> Iterator[Examples]:
    """Give batches without end, a lot after the other."""
    for number in count():
        rng = seeds.stream(seed, f"noise/{each.name}/{number}")
        lot = with_noise(each.lot(number), settings.label_noise, rng)
        for start in range(0, len(lot) - settings.batch_size + 1, settings.batch_size):
            yield lot.at(np.arange(start, start + settings.batch_size))
