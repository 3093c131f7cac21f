"""One training of a search: how good a classifier becomes by it, kept as numbers alone, without a checkpoint.

Trained once, it is found again by its hash, so that a search that was killed goes on where it was. What is controlled
for is part of it: permuted labels, which can only be learned by heart and are therefore scored on the training data,
and weights that have learned nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Int

from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.method import Settings
from dimscope.core.processes import is_main
from dimscope.core.provenance import provenance, run_key
from dimscope.core.result import Array, Number, Result
from dimscope.models.load import Network
from dimscope.models.untrained import untrained
from dimscope.numerics.resampling import wilson_interval
from dimscope.training.loop import DivergedError, TrainingSet, adamw, train
from dimscope.training.processes import wait_for_all
from dimscope.training.settings import TrainingSettings
from dimscope.training.subspace import Subspace, SubspaceSettings

VERSION = 2
"""Raised when a change moves the numbers of trials."""

Labels = Literal["true", "permuted"]
Weights = Literal["pretrained", "random"]


class Trial(Settings):
    """What is trained, how, on what, and when it is given up."""

    training: TrainingSettings
    """How it is trained; the precision is definite."""
    subspace: SubspaceSettings | None
    """The numbers that are trained; none: all parameters."""
    labels: Labels = "true"
    """The classes of the training sentences, as they are or in a random order."""
    weights: Weights = "pretrained"
    """Where training starts: at the bench's weights, or at those of the model's own initializer."""
    hopeless_below: float | None = None
    """After half of the epochs it is given up if its accuracy is below this; none: it never is."""

    def is_hopeless(self, accuracies: Sequence[float]) -> bool:
        """Tell whether it is to be given up after these epochs.

        >>> trial = Trial(training=TrainingSettings(epochs=3), subspace=None, hopeless_below=0.6)
        >>> trial.is_hopeless([0.5]), trial.is_hopeless([0.5, 0.5]), trial.is_hopeless([0.5, 0.7])
        (False, True, False)
        """
        is_halfway = math.ceil(self.training.epochs / 2) <= len(accuracies) < self.training.epochs
        return self.hopeless_below is not None and is_halfway and accuracies[-1] < self.hopeless_below


def outcome(name: str, trial: Trial, bench: Bench, seed: int) -> Result:
    """Train under a seed, or find that it was done, and give `accuracy`, `num_epochs`, `is_stopped`, `is_diverged`.

    A training whose loss is lost has the accuracy 0. Its run is kept as `name`/trial.
    """
    name, spec, settings = f"{name}/trial", {**bench.spec, "seed": seed}, trial.model_dump(mode="json")
    key = run_key(name, VERSION, settings, spec)
    if bench.store.load_run(name, key) is None:
        started = time.monotonic()
        result = replace(_trained(trial, bench, seed), method=name, settings=settings, bench=spec)
        if is_main():
            bench.store.save_run(name, key, replace(result, provenance=provenance(time.monotonic() - started)))
        wait_for_all()
    stored: Result = bench.store.load_run(name, key)
    return stored


def split_scored(labels: Labels) -> Literal["train", "validation"]:
    """Tell on which sentences a training on such labels is scored."""
    return "validation" if labels == "true" else "train"


def starting_network(trial: Trial, bench: Bench, seed: int) -> Network:
    """Load the network as it is before training."""
    network: Network = bench.load(seed)
    return network if trial.weights == "pretrained" else untrained(network, seed)


class _Hopeless(Exception):
    """Raised to leave the training."""


class _Scores:
    """The accuracy after every epoch."""

    def __init__(self, trial: Trial, bench: Bench, network: Network, labels: Int[np.ndarray, " sentences"]) -> None:
        self._trial, self._bench, self._network = trial, bench, network
        self._split = split_scored(trial.labels)
        self._truth = labels if self._split == "train" else bench.labels(self._split)
        self.accuracies: list[float] = []

    def end(self, epoch: int) -> None:
        """Score the network, and leave the training if there is no hope."""
        predicted = self._bench.logits_of(self._network, self._split).argmax(axis=1)
        self.accuracies.append(float((predicted == self._truth).mean()))
        if self._trial.is_hopeless(self.accuracies):
            raise _Hopeless

    def accuracy(self) -> Number:
        """Give that of the epoch kept with its Wilson interval."""
        value = max(self.accuracies) if self._trial.training.keep == "best" else self.accuracies[-1]
        interval = wilson_interval(round(value * len(self._truth)), len(self._truth))
        return Number(name="accuracy", value=value, better="higher", interval=interval)


def _trained(trial: Trial, bench: Bench, seed: int) -> Result:
    network = starting_network(trial, bench, seed)
    subspace = Subspace(network, trial.subspace, seed) if trial.subspace else None
    labels = _labels(trial, bench, seed)
    scores = _Scores(trial, bench, network, labels)
    stopped = diverged = False
    data = TrainingSet(bench.encoded("train"), labels)
    try:
        train(network, data, trial.training, seed, scores.end, optimizer=subspace.optimizer if subspace else adamw)
    except _Hopeless:
        stopped = True
    except DivergedError:
        diverged = True
    lost = Number(name="accuracy", value=0, better="higher")
    return Result(
        numbers=[
            lost if diverged else scores.accuracy(),
            Number(name="num_epochs", value=len(scores.accuracies)),
            Number(name="is_stopped", value=stopped),
            Number(name="is_diverged", value=diverged),
        ],
        arrays={"epoch_accuracy": Array(np.array(scores.accuracies), ("epoch",))},
    ).at({**bench.where, **_place(trial, network, seed)})


def _labels(trial: Trial, bench: Bench, seed: int) -> Int[np.ndarray, " sentences"]:
    labels = bench.labels("train")
    return labels if trial.labels == "true" else seeds.stream(seed, "permuted labels").permutation(labels)


def _place(trial: Trial, network: Network, seed: int) -> dict[str, str | int | float]:
    num_parameters = sum(parameter.numel() for parameter in network.model.parameters())
    start = {"weights": "random"} if trial.weights == "random" else {}
    return {
        **start,
        "seed": seed,
        "labels": trial.labels,
        "training": "subspace" if trial.subspace else "full",
        "num_trained": trial.subspace.num_trained if trial.subspace else num_parameters,
        "learning_rate": trial.training.learning_rate,
    }
