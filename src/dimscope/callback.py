"""Outlier dimensions followed through anybody's own training with Hugging Face's Trainer.

Before the first step, every so many steps and at the end, the model as it then is reads a fixed sample of sentences.
The training stays, bit for bit, what it is without; what is measured is told in `dimscope.scoring.snapshot`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import DistributedType
from accelerate.state import AcceleratorState
from accelerate.utils import extract_model_from_parallel
from jaxtyping import Int
from torch import nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from dimscope.activations.capture import states
from dimscope.activations.check import check
from dimscope.core.errors import UserError
from dimscope.core.provenance import digest, provenance, run_key
from dimscope.core.result import Result
from dimscope.data.batching import Encoded, encode, padded_batches
from dimscope.data.splits import hold_out, limited
from dimscope.data.task import Split
from dimscope.models.load import Network, is_causal
from dimscope.report.trajectory import page
from dimscope.report.written import write_page
from dimscope.scoring.snapshot import Half, Snapshot, arrays, snapshot
from dimscope.store.layout import Store

SHARE = 0.02
"""Of the training's time, what measuring takes at most where the interval is 'auto'."""
NAME = "outlier_callback"
SOURCES = ("Rudman, Chen & Eickhoff 2023 (2310.17715), equation 1 and section 3",)
_SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)


def interval(cost: float, step_time: float) -> int:
    """Give the steps from one measurement to the next, so that what one costs is at most 2 % of their time.

    They are ceil(cost / (0.02 · step_time)), both in seconds; `step_time` is the mean over the steps so far.

    >>> interval(cost=1.0, step_time=0.25)
    200
    """
    return max(1, math.ceil(cost / (SHARE * step_time)))


class OutlierCallback(TrainerCallback):
    """Follow variances, outliers and ρ's accuracy: `Trainer(..., callbacks=[OutlierCallback(texts, labels)])`.

    Args:
        texts: sentences, or pairs of them, that the training does not see.
        labels: the class of each, by the model's numbers 0, 1, ….
        every: steps from one measurement to the next; 'auto' takes `interval` of what the last one cost.
        max_sentences: so many are taken at most, the classes in their proportions. On one half of them ρ's threshold
            is learned, on the other all accuracies are scored.
        max_length: longer texts are cut to so many tokens.
        factor: an outlier varies at least so many times as much as the dimensions do on average.
        out: the folder for the run and the page of this one training; without it nothing is written.

    >>> callback = OutlierCallback(["good film", "so sad", "great", "bad"], labels=[1, 0, 1, 0], every=100)

    Raises:
        UserError: an argument is not as above, or a class has a single sentence; when the training begins: the model
            cannot be studied, or the labels are not its classes.
    """

    def __init__(
        self,
        texts: Sequence[str] | Sequence[tuple[str, str]],
        labels: Sequence[int] | Int[np.ndarray, " sentences"],
        *,
        every: int | Literal["auto"] = "auto",
        max_sentences: int = 512,
        max_length: int = 128,
        factor: float = 5.0,
        out: Path | str | None = None,
    ) -> None:
        if every != "auto" and (not isinstance(every, int) or every < 1):
            raise UserError(f"every: wanted 'auto' or a number of steps from 1 on, got {every!r}")
        self._settings = {"every": every, "max_sentences": max_sentences, "max_length": max_length, "factor": factor}
        self._every, self._factor, self._max_length = every, factor, max_length
        self._splits = hold_out(limited(_as_split(texts, labels), max_sentences), 0.5)
        self._store = Store(Path(out)) if out else None
        self._training: _Training | None = None

    @property
    def result(self) -> Result:
        """What is measured so far: numbers where `step=0`, …; the arrays step, variance and is_outlier.

        Raises:
            UserError: nothing is measured yet, or not in this process.
        """
        training = self._training
        if training is None or not training.snapshots:
            raise UserError("nothing is measured yet: call `trainer.train()`, and ask in its main process")
        return Result(
            numbers=[number for each in training.snapshots for number in each.numbers],
            arrays=arrays(training.snapshots),
            notes=tuple(training.notes),
            method=NAME,
            sources=SOURCES,
            settings=self._settings,
            bench={"model": training.network.name, "sentences": digest([list(each.inputs()) for each in self._splits])},
            provenance=provenance(training.spent),
        )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Check the model, and measure it before the first step."""
        if state.is_world_process_zero:
            network = open_network(given["model"], given["processing_class"])
            _require_classes(self._splits, network.num_labels)
            max_length = min(self._max_length, network.max_length)
            encoded = [encode(network.tokenizer, split, max_length) for split in self._splits]
            labels = [split.labels for split in self._splits]
            self._training = _Training(
                network, list(zip(encoded, labels, strict=True)), self._factor, state.global_step
            )
            self._measure(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Measure if it is time."""
        if self._training and self._training.is_due(state.global_step, self._every):
            self._measure(state.global_step)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Measure what came out, and write the page."""
        if self._training is None:
            return
        if self._training.last_step != state.global_step:
            self._measure(state.global_step)
        if self._store and self._training.snapshots:
            write_page(self._store.root, page(self.result))

    def _measure(self, step: int) -> None:
        assert self._training is not None
        self._training.measure(step)
        # Written at every step, so that a killed training keeps what it has, and a full disk is told at the first.
        if self._store and self._training.snapshots:
            result = self.result
            self._store.save_run(NAME, run_key(NAME, 1, result.settings, result.bench), result)


class _Training:
    """One training that is followed: what is measured of it, and what that cost, in seconds."""

    def __init__(
        self, network: Network, halves: Sequence[tuple[Encoded, np.ndarray]], factor: float, first_step: int
    ) -> None:
        self.network, self._halves, self._factor = network, halves, factor
        self.snapshots: list[Snapshot] = []
        self.notes = _notes(network, [encoded for encoded, _ in halves])
        self.spent = self._last_cost = 0.0
        self._first_step = self.last_step = first_step
        self._began = time.perf_counter()

    def measure(self, step: int) -> None:
        """Take the snapshot of this step; where states are not finite, a note takes its place."""
        began = time.perf_counter()
        with undisturbed(self.network.model):
            learned, held_out = (_half(self.network, *half) for half in self._halves)
        try:
            self.snapshots.append(snapshot(step, learned, held_out, self._factor))
        except UserError as error:
            # A training that diverged is the user's to stop.
            self.notes.append(f"Step {step} could not be measured: {error}.")
        self.last_step, self._last_cost = step, time.perf_counter() - began
        self.spent += self._last_cost

    def is_due(self, step: int, every: int | Literal["auto"]) -> bool:
        """Tell whether it is time to measure again."""
        if every != "auto":
            return step % every == 0
        training_time = time.perf_counter() - self._began - self.spent
        return step - self.last_step >= interval(self._last_cost, training_time / (step - self._first_step))


@contextmanager
def undisturbed(model: PreTrainedModel) -> Iterator[None]:
    """Within the block the model is in evaluation mode and computes in its own precision; afterwards all is as before.

    That is every module's mode, the random numbers, and what accelerate put around `forward` for mixed precision.
    """
    modes = [(module, module.training) for module in model.modules()]
    mixed = vars(model).pop("forward") if "_original_forward" in vars(model) else None
    try:
        with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
            model.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        if mixed is not None:
            vars(model)["forward"] = mixed


def open_network(model: nn.Module, tokenizer: Any) -> Network:
    """Give the Trainer's model, out of what wraps it, as a network, and check what must hold of it.

    Raises:
        UserError: it is no classifier that can be studied, its weights are spread over processes, or the Trainer was
            given no tokenizer.
    """
    if AcceleratorState().distributed_type in _SHARDED:
        raise UserError("the weights are spread over processes (FSDP, DeepSpeed), and one process must hold them all")
    model = extract_model_from_parallel(model, keep_torch_compile=False)
    if not isinstance(model, PreTrainedModel):
        raise UserError(f"wanted a model of transformers, got {type(model).__name__}: follow the model inside it")
    if not isinstance(tokenizer, PreTrainedTokenizerBase) or tokenizer.pad_token_id is None:
        raise UserError("wanted a tokenizer with a pad token: Trainer(…, processing_class=tokenizer)")
    with undisturbed(model):
        network = Network(model.config.name_or_path or type(model).__name__, model, tokenizer, is_causal(model))
        if model.dtype == torch.float32:
            check(network)
    return network


def _as_split(texts: Sequence[str] | Sequence[tuple[str, str]], labels: Sequence[int] | np.ndarray) -> Split:
    inputs, classes = [(text,) if isinstance(text, str) else tuple(text) for text in texts], np.asarray(labels)
    if {len(each) for each in inputs} not in ({1}, {2}):
        raise UserError("texts: wanted sentences, or pairs of them")
    if classes.shape != (len(inputs),) or classes.dtype.kind not in "iu" or classes.min() < 0:
        raise UserError(
            f"labels: wanted the class of each of {len(inputs)} texts, a number 0, 1, …; got {labels!r:.60}"
        )
    first, *second = zip(*inputs, strict=True)
    return Split(first, classes.astype(np.int64), second[0] if second else None)


def _require_classes(splits: Sequence[Split], num_labels: int) -> None:
    largest = max(split.labels.max() for split in splits)
    if largest >= num_labels or num_labels < 2:
        raise UserError(f"wanted labels that are classes of the model, which has {num_labels}; got {largest}")


def _half(network: Network, encoded: Encoded, labels: np.ndarray) -> Half:
    batches = padded_batches(encoded, network.pad_id, network.max_length)
    seen = states(network, batches, ["final", "logits"])
    return Half(seen["final"], seen["logits"], labels)


def _notes(network: Network, halves: Sequence[Encoded]) -> list[str]:
    num_truncated = sum(encoded.num_truncated for encoded in halves)
    notes = [f"{num_truncated} sentences were longer than max_length and cut."] if num_truncated else []
    if network.model.dtype != torch.float32:
        notes.append(f"The weights are {network.model.dtype}: states are as rough, and padding was not checked.")
    return notes
