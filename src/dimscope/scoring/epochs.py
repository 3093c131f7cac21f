"""What every epoch of a fine-tuning came to, the weights of the one that is kept, and how its training went."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from dimscope.core.bench import Bench
from dimscope.core.progress import say
from dimscope.core.result import Array, Number
from dimscope.models.load import Network
from dimscope.scoring.classification import majority, scores


class Epochs:
    """The held-out scores after every epoch, and what may be wanted again: the best weights, or the last good ones.

    Args:
        bench: whose validation split is held out.
        network: what is trained.
        num_epochs: how many there will be.
        keep: which of them counts.
        copy: gives a copy of all that is trained; after the last epoch, if that is kept, none is taken.
    """

    def __init__(
        self,
        bench: Bench,
        network: Network,
        num_epochs: int,
        keep: Literal["last", "best"],
        copy: Callable[[], dict[str, Tensor]],
    ) -> None:
        self._bench, self._network, self._copy = bench, network, copy
        self._num_epochs, self._keep = num_epochs, keep
        self.scores: list[list[Number]] = []
        self.state: dict[str, Tensor] = {}
        self.kept = 0

    @property
    def accuracies(self) -> list[float]:
        """The held-out accuracy after every epoch."""
        return [numbers[0].value for numbers in self.scores]

    def end(self, epoch: int) -> None:
        """Score the network, and remember what was trained if it may be wanted again."""
        predicted = self._bench.logits_of(self._network, "validation").argmax(axis=1)
        majority_class = majority(self._bench.labels("train"))
        self.scores.append(scores(predicted, self._bench.labels("validation"), majority_class))
        say(f"epoch {epoch + 1} of {self._num_epochs}: held-out accuracy {self.accuracies[-1]:.3f}")
        if self._keep == "best" and epoch != int(np.argmax(self.accuracies)):
            return
        self.kept = epoch
        if self._keep == "best" or epoch + 1 < self._num_epochs:
            self.state = self._copy()

    def numbers(self, losses: Float[np.ndarray, " steps"]) -> list[Number]:
        """Give the scores of the epoch kept, the loss of the first and the last tenth of the steps, and the counts."""
        tenth = max(len(losses) // 10, 1)
        return [
            *self.scores[self.kept],
            Number(name="first_loss", value=float(losses[:tenth].mean()), unit="nats", better="lower"),
            Number(name="last_loss", value=float(losses[-tenth:].mean()), unit="nats", better="lower"),
            Number(name="num_steps", value=len(losses)),
            Number(name="kept_epoch", value=self.kept + 1),
        ]

    def arrays(self, losses: Float[np.ndarray, " steps"]) -> dict[str, Array]:
        """Give the loss of every step and the accuracy of every epoch."""
        return {
            "step_loss": Array(losses, ("step",), "nats"),
            "epoch_accuracy": Array(np.array(self.accuracies), ("epoch",)),
        }

    def notes(self, precision: str) -> list[str]:
        """Tell what a reader of the scores should know."""
        truncated = self._bench.encoded("train").num_truncated
        notes = [f"Trained with products in {precision}; scored in float32."]
        if self._keep == "best":
            notes.append("The epoch was chosen by validation accuracy, which therefore is a little too high.")
        if truncated:
            notes.append(f"{truncated} training sentences were longer than the maximum length and were cut.")
        return notes
