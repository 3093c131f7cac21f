"""A pooled result of the outlier-dimension study, made up number by number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from dimscope.core.result import Array, Number, Result
from dimscope.report.outlier_sections import CLASSIFIERS
from dimscope.scoring.over_seeds import over_seeds

WEIGHTS = ("pretrained", "fine-tuned")
NUM_DIMS = 24
PLAIN = {
    "principal dimension": 0.90,
    "full model": 0.91,
    "majority class": 0.50,
    "first principal component": 0.70,
    "best linear direction": 0.92,
    "best dimension": 0.90,
    "random direction": 0.60,
    "permuted labels": 0.50,
    "before": 4,
    "after": 3,
    "shared": 3,
    "overlap_p_value": 0.001,
    "correlation": 0.6,
    "correlation_p_value": 0.01,
    "others": 2,
}
"""Numbers under which every claim holds; a number for each seed may stand in place of one for all."""


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Result]:
    """Make the pooled result of models on tasks, some numbers set, each interval `width` to either side."""

    def make(
        changed: Mapping[str, Any] = {},
        *,
        models: tuple[str, ...] = ("bert",),
        tasks: tuple[str, ...] = ("rte",),
        seeds: tuple[int, ...] = (1, 2),
        width: float = 0.02,
        rules: tuple[str, ...] = ("exact", "grid"),
    ) -> Result:
        told = {**PLAIN, **changed}
        cells = [(model, task) for model in models for task in tasks]
        numbers = [
            number
            for model, task in cells
            for at, seed in enumerate(seeds)
            for number in _of_seed(
                {name: value[at] if isinstance(value, tuple) else value for name, value in told.items()},
                {"model": model, "task": task, "seed": seed},
                width,
                rules,
            )
        ]
        arrays = {
            f"{model}/{task}/{name}": array
            for model, task in cells
            for name, array in _arrays(told, seeds, rules).items()
        }
        return Result(
            numbers=[*numbers, *_of_given_width(over_seeds(numbers), width)],
            arrays=arrays,
            notes=["a note"],
            method="recipe/outlier_dimensions",
            settings={"models": models, "tasks": tasks, "seeds": seeds, "outliers": {"factor": 5.0}},
            provenance={"seconds": 1.5},
            sources=["Somebody"],
        )

    return make


def _of_seed(told: Mapping[str, float], place: dict[str, Any], width: float, rules: tuple[str, ...]) -> list[Number]:
    numbers = [Number(name="last_loss", value=0.1, where={**place, "weights": "fine-tuned"})]
    for weights in WEIGHTS:
        here = {**place, "weights": weights}
        for name in CLASSIFIERS:
            if weights == "fine-tuned" or name != "full model":
                of_rules = rules if name in ("principal dimension", "best dimension") else ("exact",)
                for rule in of_rules:
                    where = {**here, "classifier": name}
                    if name not in ("full model", "majority class"):
                        where["rule"] = rule
                    interval = (told[name] - width, told[name] + width)
                    numbers.append(Number(name="accuracy", value=told[name], interval=interval, where=where))
        numbers.append(Number(name="num_dims_as_good_as_principal", value=told["others"], where=here))
        for rule in rules:
            where = {**here, "rule": rule}
            numbers += [
                Number(name="variance_accuracy_correlation", value=told["correlation"], where=where),
                Number(name="variance_accuracy_p_value", value=told["correlation_p_value"], where=where),
            ]
        described = {**here, "site": "final", "token": "pooled"}
        numbers += [
            Number(name=name, value=1.0, where=described) for name in ("num_outlier_dims", "participation_ratio")
        ]
    tuned = {**place, "weights": "fine-tuned"}
    persistence = {
        "num_outliers_before": told["before"],
        "num_outliers_after": told["after"],
        "num_shared": told["shared"],
        "num_shared_by_chance": told["before"] * told["after"] / NUM_DIMS,
        "overlap_p_value": told["overlap_p_value"],
        "variance_rank_correlation": 0.25,
    }
    numbers += [Number(name=name, value=value, where=tuned) for name, value in persistence.items()]
    for where in ("final", "every layer"):
        for ablated in ("nothing", "principal dimension", "random, as many as all but principal dimension"):
            for fill in ("none",) if ablated == "nothing" else ("mean", "resample", "zero"):
                ablation = {**tuned, "place": where, "ablated": ablated, "fill": fill}
                numbers.append(Number(name="accuracy", value=0.8, interval=(0.7, 0.9), where=ablation))
    return numbers


def _of_given_width(averages: list[Number], width: float) -> list[Number]:
    """Student's interval of equal numbers has no width, which would make every comparison the same."""
    return [
        Number(**{**vars(each), "interval": (each.value - width, each.value + width)})
        if each.name == "accuracy" and each.interval
        else each
        for each in averages
    ]


def _arrays(told: Mapping[str, Any], seeds: tuple[int, ...], rules: tuple[str, ...]) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    ticks = {"weights": WEIGHTS, "seed": [str(seed) for seed in seeds]}
    counts = [_by_seed(told[when], seeds) for when in ("before", "after")]
    is_outlier = np.array([[np.arange(NUM_DIMS) < count for count in of_seeds] for of_seeds in counts])
    by_rule = rng.uniform(0.5, 0.9, (2, len(rules), NUM_DIMS))
    profile = np.abs(rng.normal(size=(2, 2, NUM_DIMS)))
    variance = rng.lognormal(size=(2, len(seeds), NUM_DIMS))
    variance[0, :, -1] = 1e-60  # a dimension that training moves, out of as good as nothing
    return {
        "variance": Array(variance, ("weights", "seed", "dim"), ticks=ticks),
        "is_outlier": Array(is_outlier, ("weights", "seed", "dim"), ticks=ticks),
        "accuracy": Array(by_rule, ("weights", "rule", "dim"), ticks={"weights": WEIGHTS, "rule": list(rules)}),
        "profile": Array(profile, ("weights", "statistic", "dim"), ticks={"weights": WEIGHTS}),
    }


def _by_seed(value: Any, seeds: tuple[int, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,) * len(seeds)
