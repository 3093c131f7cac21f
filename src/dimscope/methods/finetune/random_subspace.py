"""Fine-tuning with d trained numbers that move all parameters along random directions, and an adapter of a few KB.

θ = θ₀ + P z: Li et al. 2018 (1804.08838, section 2); with one factor per module, θ = θ₀ + λ P z: Aghajanyan et al. 2020
(2012.13255, the "structure-aware" form). We differ: P is by default balanced and orthonormal (which maps there are, and
how each is scaled, stands in `dimscope.numerics.projections`), gradients are exact where their public code scales every
tensor's by one over its padded size, and tied weights move under all their names.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field
from torch import Tensor

from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.processes import is_main
from dimscope.core.progress import say
from dimscope.core.result import Array, Number, Result
from dimscope.scoring.classification import majority, scores
from dimscope.training.adapters import FILE, save_adapter
from dimscope.training.loop import TrainingSet, train
from dimscope.training.precision import native_precision
from dimscope.training.processes import wait_for_all
from dimscope.training.settings import TrainingSettings
from dimscope.training.subspace import Subspace, SubspaceSettings


class RandomSubspace(SubspaceSettings, TrainingSettings, Method):
    """Train d numbers on the train split, score on validation, keep a checkpoint and an adapter."""

    sources = (
        "Li, Farkhoor, Liu & Yosinski 2018 (1804.08838), section 2",
        "Aghajanyan, Zettlemoyer & Gupta 2020 (2012.13255), direct and structure-aware intrinsic dimension",
    )
    in_all_processes = True

    learning_rate: float = Field(3e-2, gt=0)
    """Peak learning rate of the trained numbers, a hundred times and more that of parameters."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decoupled weight decay on z, which draws the model towards the pretrained one."""
    clip_norm: float | None = Field(None, gt=0)
    """Largest norm of the gradient of the moved parameters, before it is pulled back; none: no clipping."""

    def resolved(self, bench: Bench) -> Self:
        """Make precision 'auto' definite."""
        if self.precision != "auto":
            return self
        return self.model_copy(update={"precision": native_precision(bench.device)})

    def run(self, bench: Bench) -> Result:
        """Train, score after every epoch, and keep the last or the best epoch's numbers.

        Raises:
            UserError: the loss became NaN or infinite, or the parameters cannot be moved by so many numbers.
        """
        network, checkpoint = bench.load(), self.key(bench)
        subspace = Subspace(network, self, bench.seed)
        epochs = _Epochs(bench, subspace, self.keep)
        data = TrainingSet(bench.encoded("train"), bench.labels("train"))
        losses = train(network, data, self, bench.seed, epochs.end, optimizer=subspace.optimizer)
        subspace.set_state(epochs.state)
        if is_main():
            bench.keep_checkpoint(network, checkpoint)
            save_adapter(bench.store.checkpoint(checkpoint) / FILE, subspace, bench.label_names)
        wait_for_all()
        return Result(
            numbers=[*epochs.scores[epochs.kept], *_counts(subspace), *_training(losses, epochs.kept)],
            arrays={
                "step_loss": Array(losses, ("step",), "nats"),
                "epoch_accuracy": Array(np.array(epochs.accuracies), ("epoch",)),
            },
            notes=_notes(self, bench, checkpoint),
            checkpoint=checkpoint,
        ).at({"weights": "fine-tuned"})


class _Epochs:
    """What every epoch came to, and the trained numbers of the one that is kept."""

    def __init__(self, bench: Bench, subspace: Subspace, keep: Literal["last", "best"]) -> None:
        self._bench, self._subspace, self._keep = bench, subspace, keep
        self.scores: list[list[Number]] = []
        self.state: dict[str, Tensor] = {}
        self.kept = 0

    @property
    def accuracies(self) -> list[float]:
        """The held-out accuracy after every epoch."""
        return [numbers[0].value for numbers in self.scores]

    def end(self, epoch: int) -> None:
        """Score the network, and remember where it stands if that is to be kept."""
        predicted = self._bench.logits_of(self._subspace.network, "validation").argmax(axis=1)
        majority_class = majority(self._bench.labels("train"))
        self.scores.append(scores(predicted, self._bench.labels("validation"), majority_class))
        say(f"epoch {epoch + 1}: held-out accuracy {self.accuracies[-1]:.3f}")
        if self._keep == "last" or epoch == int(np.argmax(self.accuracies)):
            self.kept, self.state = epoch, self._subspace.state()


def _counts(subspace: Subspace) -> list[Number]:
    """Tell how many numbers were trained, and how many parameters they moved."""
    num_parameters = sum(parameter.numel() for parameter in subspace.network.model.parameters())
    return [
        Number(name="num_trained", value=subspace.settings.num_trained),
        Number(name="num_factors", value=len(subspace.factors)),
        Number(name="num_trained_apart", value=sum(each.numel() for each in subspace.apart.values())),
        Number(name="num_moved_parameters", value=subspace.num_moved),
        Number(name="num_parameters", value=num_parameters),
        Number(name="distance", value=subspace.distance()),
    ]


def _training(losses: np.ndarray, kept: int) -> list[Number]:
    """Tell the loss of the first and the last tenth of the steps, the steps, and the epoch kept."""
    tenth = max(len(losses) // 10, 1)
    return [
        Number(name="first_loss", value=float(losses[:tenth].mean()), unit="nats", better="lower"),
        Number(name="last_loss", value=float(losses[-tenth:].mean()), unit="nats", better="lower"),
        Number(name="num_steps", value=len(losses)),
        Number(name="kept_epoch", value=kept + 1),
    ]


def _notes(settings: RandomSubspace, bench: Bench, checkpoint: str) -> list[str]:
    truncated = bench.encoded("train").num_truncated
    head = "inside the subspace" if settings.head == "inside" else "trained fully, beside the subspace"
    notes = [
        f"Projection {settings.projection}; the classifier was {head}.",
        f"The adapter is checkpoints/{checkpoint}/{FILE}.",
        f"Trained with products in {settings.precision}; scored in float32.",
    ]
    if settings.keep == "best":
        notes.append("The epoch was chosen by validation accuracy, which therefore is a little too high.")
    if truncated:
        notes.append(f"{truncated} training sentences were longer than the maximum length and were cut.")
    return notes
