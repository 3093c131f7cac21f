"""Fine-tuning of all parameters, and how well the model then does the task on held-out sentences.

AdamW (Loshchilov & Hutter 2019, algorithm 2) on cross-entropy. The defaults are those of Rudman, Chen & Eickhoff 2023
(2310.17715, public code: constant learning rate, weight decay 0.01, no clipping, last epoch kept) but for the learning
rate, precision (no float16 with loss scaling) and batches, which hold sentences of similar length.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch

from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.processes import is_main
from dimscope.core.progress import say
from dimscope.core.result import Array, Number, Result
from dimscope.scoring.classification import majority, scores
from dimscope.training.loop import TrainingSet, train
from dimscope.training.precision import native_precision
from dimscope.training.processes import wait_for_all
from dimscope.training.settings import TrainingSettings


class FullFineTuning(TrainingSettings, Method):
    """Train every parameter on the train split, score on validation, keep a checkpoint."""

    sources = (
        "AdamW: Loshchilov & Hutter 2019, algorithm 2",
        "defaults: Rudman, Chen & Eickhoff 2023, public code",
    )
    in_all_processes = True

    def resolved(self, bench: Bench) -> Self:
        """Make precision 'auto' definite."""
        if self.precision != "auto":
            return self
        return self.model_copy(update={"precision": native_precision(bench.device)})

    def run(self, bench: Bench) -> Result:
        """Train, score after every epoch, and keep the last or the best epoch's weights."""
        network = bench.load()
        labels = bench.labels("train")
        epochs: list[list[Number]] = []
        best: dict[str, torch.Tensor] = {}

        def score(epoch: int) -> None:
            predicted = bench.logits_of(network, "validation").argmax(axis=1)
            epochs.append(scores(predicted, bench.labels("validation"), majority(labels)))
            say(f"epoch {epoch + 1} of {self.epochs}: held-out accuracy {epochs[-1][0].value:.3f}")
            if self.keep == "best" and epoch == _best(epochs):
                best.update({name: tensor.clone() for name, tensor in network.model.state_dict().items()})

        losses = train(network, TrainingSet(bench.encoded("train"), labels), self, bench.seed, score)
        if best:
            network.model.load_state_dict(best)
        checkpoint = self.key(bench)
        if is_main():
            bench.keep_checkpoint(network, checkpoint)
        wait_for_all()
        kept = _best(epochs) if self.keep == "best" else self.epochs - 1
        return Result(
            numbers=[*epochs[kept], *training_numbers(losses, self, kept)],
            arrays={
                "step_loss": Array(losses, ("step",), "nats"),
                "epoch_accuracy": Array(np.array([each[0].value for each in epochs]), ("epoch",)),
            },
            notes=_notes(self, bench),
            checkpoint=checkpoint,
        ).at({"weights": "fine-tuned"})


def training_numbers(losses: np.ndarray, settings: TrainingSettings, kept: int) -> list[Number]:
    """Tell how training went: the loss of the first and the last tenth of the steps, the steps, the epoch kept."""
    tenth = max(len(losses) // 10, 1)
    return [
        Number(name="first_loss", value=float(losses[:tenth].mean()), unit="nats", better="lower"),
        Number(name="last_loss", value=float(losses[-tenth:].mean()), unit="nats", better="lower"),
        Number(name="num_steps", value=len(losses)),
        Number(name="kept_epoch", value=kept + 1),
    ]


def _best(epochs: list[list[Number]]) -> int:
    """The epoch of the highest accuracy, the first of those on a tie."""
    return int(np.argmax([numbers[0].value for numbers in epochs]))


def _notes(settings: TrainingSettings, bench: Bench) -> list[str]:
    truncated = bench.encoded("train").num_truncated
    notes = [f"Trained with products in {settings.precision}; scored in float32."]
    if settings.keep == "best":
        notes.append("The epoch was chosen by validation accuracy, which therefore is a little too high.")
    if truncated:
        notes.append(f"{truncated} training sentences were longer than the maximum length and were cut.")
    return notes
