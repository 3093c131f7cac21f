"""Fine-tuning of a classifier: cross-entropy, batches of similar length, one or many processes.

A batch is the same sentences whatever the number of processes and accumulation steps: they share it out, and each
sentence's loss counts 1 / (size of the whole batch), so that the gradient is the same but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import is_initialized
from jaxtyping import Float, Int
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import get_scheduler

from dimscope.core import seeds
from dimscope.core.errors import UserError
from dimscope.core.memory import keep_freed_memory
from dimscope.core.progress import work
from dimscope.data.batching import Encoded, pad, shuffled_length_batches
from dimscope.models.classify import classify
from dimscope.models.direct import DirectPass, Words, has_direct_pass
from dimscope.models.load import Network
from dimscope.training.row_gradients import RowGradients
from dimscope.training.settings import TrainingSettings
from dimscope.training.words import words_to_train

_SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}
"""transformers' names; its plain 'constant' would ignore the warm-up."""


class DivergedError(UserError):
    """The loss became NaN or infinite."""


@dataclass(frozen=True)
class TrainingSet:
    """Sentences as token ids, and the class of each."""

    encoded: Encoded
    labels: Int[np.ndarray, " sentences"]


def adamw(network: Network, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Give AdamW over all parameters that are trained."""
    parameters = [parameter for parameter in network.model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def train(
    network: Network,
    data: TrainingSet,
    settings: TrainingSettings,
    seed: int,
    after_epoch: Callable[[int], None] = lambda epoch: None,
    optimizer: Callable[[Network, TrainingSettings], torch.optim.Optimizer] = adamw,
) -> Float[np.ndarray, " steps"]:
    """Train `network` in place and give the loss of every optimizer step.

    What is trained is what `optimizer` moves: all parameters, or a few numbers on which they depend. `after_epoch` is
    called with 0, 1, … while the network is in evaluation mode; so it is left.

    Raises:
        DivergedError: the loss became NaN or infinite; the message says at which step.
    """
    keep_freed_memory()
    steps_per_epoch = math.ceil(len(data.labels) / settings.batch_size)
    trainer = _Trainer(network, data, settings, settings.epochs * steps_per_epoch, optimizer(network, settings))
    losses: list[float] = []
    with (
        _in_training_mode(network),
        random_numbers(network.device, seed, trainer.accelerator.process_index),
        work("training steps", settings.epochs * steps_per_epoch) as done,
    ):
        for epoch in range(settings.epochs):
            order = seeds.stream(seed, f"order/{epoch}")
            for batch in shuffled_length_batches(data.encoded.lengths, settings.batch_size, order):
                losses.append(trainer.step(trainer.parts(batch)))
                require_finite(losses, settings.learning_rate, settings.precision)
                done(1)
            trainer.words.write()
            network.model.eval()
            after_epoch(epoch)
            network.model.train()
    return np.array(losses)


@dataclass(frozen=True)
class _Part:
    """The share of a batch that one process computes at once; `weights` are 1 / batch size, or 0 for a filler."""

    inputs: dict[str, torch.Tensor]
    targets: torch.Tensor
    weights: torch.Tensor


class _Trainer:
    """The optimizer step: what accelerate has prepared, and the schedule."""

    def __init__(
        self,
        network: Network,
        data: TrainingSet,
        settings: TrainingSettings,
        num_steps: int,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        # accelerate's own mixed precision is fixed for the whole process, perhaps by somebody's Trainer already; ours
        # is a setting of each training and overrules it in the forward pass.
        fixed = None if is_initialized() else "no"
        self.accelerator = Accelerator(mixed_precision=fixed, cpu=network.device.type == "cpu")
        self._network, self._data, self._settings = network, data, settings
        self.words = words_to_train(network, data.encoded.ids, optimizer)
        trained = [parameter for parameter in network.model.parameters() if parameter.requires_grad]
        self._parameters = self.words.in_place_of_table(trained)
        self._row_gradients = RowGradients(self._parameters)
        num_warmup = round(settings.warmup_fraction * num_steps)
        self._schedule = get_scheduler(_SCHEDULES[settings.schedule], optimizer, num_warmup, num_steps)
        self._classifier, self._optimizer = self.accelerator.prepare(
            _Classifier(network, settings.precision == "bfloat16", self.words), optimizer
        )

    def parts(self, batch: np.ndarray) -> Iterator[_Part]:
        """Give this process's share of a batch. Every process gets equally many parts, so that none waits for ever."""
        num_processes = self.accelerator.num_processes
        shares = np.array_split(batch, num_processes * self._settings.accumulation_steps)
        for share in shares[self.accelerator.process_index :: num_processes]:
            indices = share if len(share) else batch[:1]
            inputs = pad(self._data.encoded, indices, self._network.pad_id)
            yield _Part(
                {name: tensor.to(self._network.device) for name, tensor in inputs.items()},
                torch.as_tensor(self._data.labels[indices], device=self._network.device),
                torch.full([len(indices)], len(share) and 1 / len(batch), device=self._network.device),
            )

    def step(self, parts: Iterator[_Part]) -> float:
        """Take one optimizer step and give the batch's mean loss."""
        remaining = self._settings.accumulation_steps
        total = torch.zeros((), device=self._network.device)
        for part in parts:
            remaining -= 1
            with self.accelerator.no_sync(self._classifier) if remaining else nullcontext():
                logits = self._classifier(part.inputs).float()
                loss = (cross_entropy(logits, part.targets, reduction="none") * part.weights).sum()
                # Gradients are averaged over processes; their sum is what is wanted.
                self.accelerator.backward(loss * self.accelerator.num_processes)
            total += loss.detach()
        with self._row_gradients.dense():
            if self._settings.clip_norm is not None:
                self.accelerator.clip_grad_norm_(self._parameters, self._settings.clip_norm)
            self._optimizer.step()
        for parameter in self._parameters:
            parameter.grad = None
        self._schedule.step()
        return float(self.accelerator.reduce(total, "sum"))


class _Classifier(nn.Module):
    """The network as one module, so that what wraps it for several processes sees the whole forward."""

    def __init__(self, network: Network, in_bfloat16: bool, words: Words) -> None:
        super().__init__()
        self.model = network.model
        self._network = network
        self._in_bfloat16 = in_bfloat16
        self._direct = (
            DirectPass(network, torch.bfloat16 if in_bfloat16 else torch.float32, words=words)
            if has_direct_pass(network)
            else None
        )

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Give the logits [batch, classes]."""
        by_autocast = self._in_bfloat16 and not self._direct
        with torch.autocast(self._network.device.type, torch.bfloat16, enabled=by_autocast):
            return self._direct.logits(inputs) if self._direct else classify(self._network, inputs)


@contextmanager
def _in_training_mode(network: Network) -> Iterator[None]:
    """Within the block dropout drops; afterwards it does not, however the block ends."""
    network.model.train()
    try:
        yield
    finally:
        network.model.eval()


@contextmanager
def random_numbers(device: torch.device, seed: int, process: int = 0) -> Iterator[None]:
    """Draw dropout's numbers from the seed, others in every process, and leave the caller's generators alone."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seeds.integer(seed, f"dropout/{process}"))
        yield


def require_finite(losses: Sequence[float], learning_rate: float, precision: str) -> None:
    """Stop a training whose last loss is none.

    Raises:
        DivergedError: it is NaN or infinite; the message says at which step.
    """
    if not math.isfinite(losses[-1]):
        raise DivergedError(
            f"the training loss became {losses[-1]} at step {len(losses)} (learning rate {learning_rate:g}, "
            f"{precision}). Try a smaller learning rate, a warm-up, or precision float32."
        )
