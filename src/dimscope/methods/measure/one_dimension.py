"""How much of the task one dimension of the states can do, beside everything that it must be compared with.

The 1-D classifier (Rudman, Chen & Eickhoff 2023, 2310.17715, equation 1): one threshold on one dimension, learned
on the train split and scored on validation, for the principal dimension ρ and for every other. We learn the exact
threshold and direction; the paper's rule (mean + ε, ε = −50 … 50 in steps of 0.5) stands beside it, because its
absolute steps handicap dimensions that vary little. Controls: the majority class, the full model, the first
principal component, the best linear direction, random directions, the best dimension chosen on train, and ρ learned
from permuted labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
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

RULES = {"exact": exact_thresholds, "grid": grid_thresholds}


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
        train, held_out = (
            Labelled(bench.states(split, self.site, self.pooling), bench.labels(split))
            for split in ("train", "validation")
        )
        num_classes = len(bench.label_names)
        rules = {name: learn(train, num_classes, name) for name in (RULES if num_classes == 2 else ("exact",))}
        by_dim = {name: rule.accuracy(held_out.states, held_out.labels) for name, rule in rules.items()}
        variance = train.states.var(axis=0, dtype=np.float64)
        random = self._random_directions(train, held_out, num_classes, bench.seed)
        permuted = self._permuted_labels(train, held_out, num_classes, bench.seed, principal_dim(variance))
        numbers = [
            *_single_dims(rules, held_out, principal_dim(variance)),
            *_controls(bench, train, held_out, num_classes),
            *_quantiles("random direction", random),
            *_quantiles("permuted labels", permuted),
            *self._correlations(variance, by_dim, bench.seed),
            *_counts(by_dim["exact"], principal_dim(variance), bench, held_out),
        ]
        return Result(
            numbers=numbers,
            arrays={
                "variance": Array(variance, ("dim",)),
                "accuracy": _of_rules(by_dim),
                "train_accuracy": _of_rules({name: rule.train_accuracy for name, rule in rules.items()}),
                "random_direction_accuracy": Array(random, ("draw",)),
                "permuted_label_accuracy": Array(permuted, ("draw",)),
            },
            notes=[]
            if num_classes == 2
            else ["The paper's grid rule is for two classes; the exact rule alone is shown."],
        )

    def _random_directions(self, train: Labelled, held_out: Labelled, num_classes: int, seed: int) -> np.ndarray:
        rng = seeds.stream(seed, "random directions")
        directions = random_directions(self.num_random_directions, train.states.shape[1], rng)
        return _score(train.along(directions), held_out.along(directions), num_classes)

    def _permuted_labels(
        self, train: Labelled, held_out: Labelled, num_classes: int, seed: int, dim: int
    ) -> np.ndarray:
        rng = seeds.stream(seed, "permuted labels")
        one, scored = (Labelled(data.states[:, [dim]], data.labels) for data in (train, held_out))
        shuffled = (Labelled(one.states, rng.permutation(one.labels)) for _ in range(self.num_label_permutations))
        return np.concatenate([_score(each, scored, num_classes) for each in shuffled])

    def _correlations(self, variance: np.ndarray, by_dim: Mapping[str, np.ndarray], seed: int) -> list[Number]:
        numbers = []
        for rule, accuracies in by_dim.items():
            rng = seeds.stream(seed, f"correlation/{rule}")
            correlation, p_value = spearman_permutation(variance, accuracies, rng, self.num_permutations)
            numbers += [
                Number(name="variance_accuracy_correlation", value=correlation, where={"rule": rule}),
                Number(name="variance_accuracy_p_value", value=p_value, where={"rule": rule}),
            ]
        return numbers


@dataclass(frozen=True)
class Labelled:
    """States and the class of each sentence."""

    states: Float[np.ndarray, "sentences dims"]
    labels: Int[np.ndarray, " sentences"]

    def along(self, directions: Float[np.ndarray, "directions dims"]) -> Labelled:
        """The same sentences, seen along directions instead of dimensions."""
        return Labelled((self.states @ directions.T.astype(self.states.dtype)), self.labels)


def learn(train: Labelled, num_classes: int, rule: str) -> Rules:
    """Learn the rule for every dimension."""
    if rule == "grid":
        return grid_thresholds(train.states, train.labels)
    return exact_thresholds(train.states, train.labels, num_classes)


def _score(train: Labelled, held_out: Labelled, num_classes: int) -> Float[np.ndarray, " dims"]:
    return learn(train, num_classes, "exact").accuracy(held_out.states, held_out.labels)


def _single_dims(rules: Mapping[str, Rules], held_out: Labelled, principal: int) -> list[Number]:
    """ρ, and the dimension that did best on train, under every rule."""
    numbers = []
    for name, rule in rules.items():
        for classifier, dim in (
            ("principal dimension", principal),
            ("best dimension", int(rule.train_accuracy.argmax())),
        ):
            is_right = rule.select([dim]).predict(held_out.states[:, [dim]])[:, 0] == held_out.labels
            numbers.append(accuracy(is_right, classifier=classifier, rule=name))
            numbers.append(Number(name="dim", value=dim, unit="index", where={"classifier": classifier, "rule": name}))
    return numbers


def _controls(bench: Bench, train: Labelled, held_out: Labelled, num_classes: int) -> list[Number]:
    """What ρ must be compared with, each as accuracy on validation."""
    directions = {
        "first principal component": first_principal_component(train.states),
        "best linear direction": linear_discriminant(train.states, train.labels),
    }
    numbers = [accuracy(held_out.labels == majority(train.labels), classifier="majority class")]
    if bench.checkpoint is not None:
        predicted = bench.logits("validation").argmax(axis=1)
        numbers.append(accuracy(predicted == held_out.labels, classifier="full model"))
    for name, direction in directions.items():
        one, scored = (data.along(direction[None, :]) for data in (train, held_out))
        predicted = learn(one, num_classes, "exact").predict(scored.states)[:, 0]
        numbers.append(accuracy(predicted == held_out.labels, classifier=name, rule="exact"))
    return numbers


def _quantiles(classifier: str, accuracies: np.ndarray) -> list[Number]:
    """The median of many draws, with the 2.5 % and 97.5 % quantiles as its interval, and the largest."""
    low, median, high = (float(each) for each in np.quantile(accuracies, [0.025, 0.5, 0.975]))
    where = {"classifier": classifier, "rule": "exact"}
    return [
        Number(name="accuracy", value=median, better="higher", interval=(low, high), where=where),
        Number(name="largest_accuracy", value=float(accuracies.max()), better="higher", where=where),
    ]


def _counts(by_dim: np.ndarray, principal: int, bench: Bench, held_out: Labelled) -> list[Number]:
    """How many single dimensions do as well as ρ, and as the full model."""
    numbers = [
        Number(
            name="num_dims_as_good_as_principal",
            value=int((by_dim >= by_dim[principal]).sum()) - 1,
            unit="dims",
        )
    ]
    if bench.checkpoint is not None:
        full = (bench.logits("validation").argmax(axis=1) == held_out.labels).mean()
        numbers.append(Number(name="num_dims_as_good_as_full_model", value=int((by_dim >= full).sum()), unit="dims"))
    return numbers


def _of_rules(by_rule: Mapping[str, np.ndarray]) -> Array:
    return Array(np.stack(list(by_rule.values())), ("rule", "dim"), ticks={"rule": list(by_rule)})
