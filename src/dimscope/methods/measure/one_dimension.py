"""How much of the task one dimension of the states can do, beside everything that it must be compared with.

The 1-D classifier (Rudman, Chen & Eickhoff 2023, 2310.17715, equation 1): one threshold on one dimension, learned
on the train split and scored on validation, for the principal dimension ρ and for every other. We learn the exact
threshold and direction; the paper's rule (mean + ε, ε = −50 … 50 in steps of 0.5) stands beside it, because its
absolute steps handicap dimensions that vary little. Controls: the majority class, the full model, the first
principal component, the best linear direction, random directions, the best dimension chosen on train, and ρ learned
from permuted labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.result import Array, Number, Result
from dimscope.numerics.directions import first_principal_component, linear_discriminant, random_directions
from dimscope.numerics.outliers import principal_dim
from dimscope.numerics.resampling import spearman_permutation
from dimscope.numerics.thresholds import Rules, exact_thresholds, grid_thresholds
from dimscope.scoring.classification import accuracy, majority


class OneDimension(Method):
    """The 1-D classifier on ρ and on every dimension, with its controls."""

    sources = ("Rudman, Chen & Eickhoff 2023 (2310.17715), equation 1 and section 3.2",)

    site: str = "final"
    """Where in the network."""
    pooling: Literal["auto", "first", "last", "mean"] = "auto"
    """Which state stands for a sentence; auto: the first token's in encoders, the last real token's in decoders."""
    num_random_directions: int = Field(100, ge=1)
    """How many random directions are tried."""
    num_label_permutations: int = Field(100, ge=1)
    """How many times ρ is learned from permuted training labels."""
    num_permutations: int = Field(9999, ge=99)
    """Permutations behind the p-value of the correlation of variance with accuracy."""

    def run(self, bench: Bench) -> Result:
        """Learn on train, score on validation."""
        trial = self._trial(bench)
        variance = trial.states.var(axis=0, dtype=np.float64)
        rho = principal_dim(variance)
        rules = {name: trial.learn(name) for name in (("exact", "grid") if trial.num_classes == 2 else ("exact",))}
        by_dim = {name: rule.accuracy(trial.held_out_states, trial.held_out_labels) for name, rule in rules.items()}
        full_model = None if bench.checkpoint is None else bench.logits("validation").argmax(axis=1)
        random = self._random_directions(trial, bench.seed)
        permuted = self._permuted_labels(trial.of(rho), bench.seed)
        return Result(
            numbers=[
                *single_dims(trial, rules, rho),
                *controls(trial, full_model),
                *_quantiles("random direction", random),
                *_quantiles("permuted labels", permuted),
                *self._correlations(variance, by_dim, bench.seed),
                *_counts(trial, by_dim["exact"], rho, full_model),
            ],
            arrays={
                "variance": Array(variance, ("dim",)),
                "accuracy": _by_rule(by_dim),
                "train_accuracy": _by_rule({name: rule.train_accuracy for name, rule in rules.items()}),
                "random_direction_accuracy": Array(random, ("draw",)),
                "permuted_label_accuracy": Array(permuted, ("draw",)),
            },
            notes=[] if "grid" in rules else ["The paper's grid is for two classes; the exact rule alone is shown."],
        )

    def _trial(self, bench: Bench) -> Trial:
        train, held_out = (bench.states(split, self.site, self.pooling) for split in ("train", "validation"))
        return Trial(train, bench.labels("train"), held_out, bench.labels("validation"), len(bench.label_names))

    def _random_directions(self, trial: Trial, seed: int) -> Float[np.ndarray, " draws"]:
        rng = seeds.stream(seed, "random directions")
        return trial.along(random_directions(self.num_random_directions, trial.states.shape[1], rng)).accuracies()

    def _permuted_labels(self, trial: Trial, seed: int) -> Float[np.ndarray, " draws"]:
        rng = seeds.stream(seed, "permuted labels")
        permuted = (replace(trial, labels=rng.permutation(trial.labels)) for _ in range(self.num_label_permutations))
        return np.concatenate([each.accuracies() for each in permuted])

    def _correlations(self, variance: np.ndarray, by_dim: Mapping[str, np.ndarray], seed: int) -> Iterator[Number]:
        for rule, accuracies in by_dim.items():
            rng = seeds.stream(seed, f"correlation/{rule}")
            correlation, p_value = spearman_permutation(variance, accuracies, rng, self.num_permutations)
            yield Number(name="variance_accuracy_correlation", value=correlation, where={"rule": rule})
            yield Number(name="variance_accuracy_p_value", value=p_value, where={"rule": rule})


@dataclass(frozen=True)
class Trial:
    """States and classes to learn from, and held-out ones to be scored on."""

    states: Float[np.ndarray, "sentences dims"]
    labels: Int[np.ndarray, " sentences"]
    held_out_states: Float[np.ndarray, "held_out dims"]
    held_out_labels: Int[np.ndarray, " held_out"]
    num_classes: int

    def of(self, dim: int) -> Trial:
        """Give the trial of one dimension alone."""
        return replace(self, states=self.states[:, [dim]], held_out_states=self.held_out_states[:, [dim]])

    def along(self, directions: Float[np.ndarray, "directions dims"]) -> Trial:
        """Give the trial whose dimensions are these directions."""
        axes = directions.T.astype(self.states.dtype)
        return replace(self, states=self.states @ axes, held_out_states=self.held_out_states @ axes)

    def learn(self, rule: str = "exact") -> Rules:
        """Learn the rule of every dimension."""
        if rule == "grid":
            return grid_thresholds(self.states, self.labels)
        return exact_thresholds(self.states, self.labels, self.num_classes)

    def accuracies(self) -> Float[np.ndarray, " dims"]:
        """Give the held-out accuracy of every dimension."""
        return self.learn().accuracy(self.held_out_states, self.held_out_labels)

    def is_right(self, predicted: Int[np.ndarray, " held_out"]) -> Bool[np.ndarray, " held_out"]:
        """Tell which held-out sentences are classified rightly."""
        return predicted == self.held_out_labels


def single_dims(trial: Trial, rules: Mapping[str, Rules], rho: int) -> Iterator[Number]:
    """Score ρ, and the dimension that did best on train, under every rule."""
    for name, rule in rules.items():
        chosen = {"principal dimension": rho, "best dimension": int(rule.train_accuracy.argmax())}
        for classifier, dim in chosen.items():
            predicted = rule.select([dim]).predict(trial.held_out_states[:, [dim]])[:, 0]
            yield accuracy(trial.is_right(predicted), classifier=classifier, rule=name)
            yield Number(name="dim", value=dim, unit="index", where={"classifier": classifier, "rule": name})


def controls(trial: Trial, full_model: Int[np.ndarray, " held_out"] | None) -> Iterator[Number]:
    """Score what ρ must be compared with, on the same held-out sentences."""
    yield accuracy(trial.held_out_labels == majority(trial.labels), classifier="majority class")
    if full_model is not None:
        yield accuracy(trial.is_right(full_model), classifier="full model")
    directions = {
        "first principal component": first_principal_component(trial.states),
        "best linear direction": linear_discriminant(trial.states, trial.labels),
    }
    for classifier, direction in directions.items():
        line = trial.along(direction[None, :])
        predicted = line.learn().predict(line.held_out_states)[:, 0]
        yield accuracy(trial.is_right(predicted), classifier=classifier, rule="exact")


def _quantiles(classifier: str, accuracies: Float[np.ndarray, " draws"]) -> list[Number]:
    """The median of many draws, with the 2.5 % and 97.5 % quantiles as its interval, and the largest."""
    low, median, high = (float(each) for each in np.quantile(accuracies, [0.025, 0.5, 0.975]))
    where = {"classifier": classifier, "rule": "exact"}
    return [
        Number(name="accuracy", value=median, better="higher", interval=(low, high), where=where),
        Number(name="largest_accuracy", value=float(accuracies.max()), better="higher", where=where),
    ]


def _counts(trial: Trial, by_dim: np.ndarray, rho: int, full_model: np.ndarray | None) -> Iterator[Number]:
    """How many other dimensions do as well as ρ, and how many as well as the full model."""
    others = np.delete(by_dim, rho)
    yield Number(name="num_dims_as_good_as_principal", value=int((others >= by_dim[rho]).sum()), unit="dims")
    if full_model is not None:
        as_good = int((by_dim >= trial.is_right(full_model).mean()).sum())
        yield Number(name="num_dims_as_good_as_full_model", value=as_good, unit="dims")


def _by_rule(values: Mapping[str, np.ndarray]) -> Array:
    return Array(np.stack(list(values.values())), ("rule", "dim"), ticks={"rule": list(values)})
