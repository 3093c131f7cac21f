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
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.processes import is_main
from dimscope.core.progress import say
from dimscope.core.result import Array, Number, Result
from dimscope.models.load import Network
from dimscope.scoring.classification import majority, scores
from dimscope.training.loop import DivergedError, TrainingSet, train
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
        """Train, score after every epoch, and keep the last or the best epoch's weights.

        Raises:
            UserError: the loss became NaN or infinite; the weights of the last good epoch are kept.
        """
        network, checkpoint = bench.load(), self.key(bench)
        epochs = _Epochs(bench, network, self)
        try:
            losses = train(
                network, TrainingSet(bench.encoded("train"), bench.labels("train")), self, bench.seed, epochs.end
            )
        except DivergedError as error:
            raise epochs.kept_before(error, checkpoint) from error
        if self.keep == "best":
            network.model.load_state_dict(epochs.weights)
        _keep(bench, network, checkpoint)
        return Result(
            numbers=[*epochs.scores[epochs.kept], *training_numbers(losses, self, epochs.kept)],
            arrays={
                "step_loss": Array(losses, ("step",), "nats"),
                "epoch_accuracy": Array(np.array(epochs.accuracies), ("epoch",)),
            },
            notes=_notes(self, bench),
            checkpoint=checkpoint,
        ).at({"weights": "fine-tuned"})


class _Epochs:
    """What every epoch came to, and the weights that may be wanted again: the best, or the last good ones."""

    def __init__(self, bench: Bench, network: Network, settings: FullFineTuning) -> None:
        self._bench, self._network, self._settings = bench, network, settings
        self.scores: list[list[Number]] = []
        self.weights: dict[str, torch.Tensor] = {}
        self.kept = 0

    @property
    def accuracies(self) -> list[float]:
        """The held-out accuracy after every epoch."""
        return [numbers[0].value for numbers in self.scores]

    def end(self, epoch: int) -> None:
        """Score the network, and remember its weights if they may be wanted again."""
        predicted = self._bench.logits_of(self._network, "validation").argmax(axis=1)
        majority_class = majority(self._bench.labels("train"))
        self.scores.append(scores(predicted, self._bench.labels("validation"), majority_class))
        say(f"epoch {epoch + 1} of {self._settings.epochs}: held-out accuracy {self.accuracies[-1]:.3f}")
        if self._settings.keep == "best" and epoch != int(np.argmax(self.accuracies)):
            return
        self.kept = epoch
        if self._settings.keep == "best" or epoch + 1 < self._settings.epochs:
            self.weights = {name: tensor.clone() for name, tensor in self._network.model.state_dict().items()}

    def kept_before(self, error: DivergedError, checkpoint: str) -> UserError:
        """Keep the last good weights of a training that broke off, and word the error that says where they are."""
        if not self.weights:
            return UserError(str(error))
        name = f"{checkpoint}-epoch-{self.kept + 1}"
        self._network.model.load_state_dict(self.weights)
        _keep(self._bench, self._network, name)
        return UserError(f"{error} The weights after epoch {self.kept + 1} are kept as the checkpoint {name}.")


def _keep(bench: Bench, network: Network, checkpoint: str) -> None:
    if is_main():
        bench.keep_checkpoint(network, checkpoint)
    wait_for_all()


def training_numbers(losses: np.ndarray, settings: TrainingSettings, kept: int) -> list[Number]:
    """Tell how training went: the loss of the first and the last tenth of the steps, the steps, the epoch kept."""
    tenth = max(len(losses) // 10, 1)
    return [
        Number(name="first_loss", value=float(losses[:tenth].mean()), unit="nats", better="lower"),
        Number(name="last_loss", value=float(losses[-tenth:].mean()), unit="nats", better="lower"),
        Number(name="num_steps", value=len(losses)),
        Number(name="kept_epoch", value=kept + 1),
    ]


def _notes(settings: TrainingSettings, bench: Bench) -> list[str]:
    truncated = bench.encoded("train").num_truncated
    notes = [f"Trained with products in {settings.precision}; scored in float32."]
    if settings.keep == "best":
        notes.append("The epoch was chosen by validation accuracy, which therefore is a little too high.")
    if truncated:
        notes.append(f"{truncated} training sentences were longer than the maximum length and were cut.")
    return notes
