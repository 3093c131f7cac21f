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
    return [*numbers, *_about_principal(tuned)]


def _about_principal(tuned: dict[str, Any]) -> list[Number]:
    """What moving ρ does, and which kinds of parts write it."""
    moved = [
        Number(name="turned_fraction", value=abs(dose) * slope, where={**tuned, "direction": direction, "dose": dose})
        for direction, slope in (("principal", 0.1), ("random", 0.01))
        for dose in (-4.0, 0.0, 4.0)
    ]
    written = [
        Number(name=name, value=share, where={**tuned, "part": part})
        for part, share in (("heads", 0.7), ("mlp", 0.3))
        for name in ("variance_sum", "class_sum")
    ]
    largest = [
        Number(name="largest_share", value=share, where={**tuned, "dimension": of})
        for of, share in (("chosen", 0.6), ("others", 0.2))
    ]
    return [*moved, *written, *largest]


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
        "heads_variance_share": Array(np.array([[0.1, 0.0], [0.6, 0.0]]), ("layer", "head")),
        "mlp_variance_share": Array(np.array([-0.1, 0.4]), ("layer",)),
    }


def _by_seed(value: Any, seeds: tuple[int, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,) * len(seeds)


SEARCHED: dict[str, Any] = {
    "full": 0.8,
    "majority": 0.5,
    "num_moved": 1_000_000,
    "plain": {300: 0.7, 1000: 0.75},
    "structure-aware": {300: 0.7, 1000: 0.75},
    "random weights": {10_000: 0.58},
    "random weights full": 0.6,
    "permuted labels": {3000: 0.7, 10_000: 0.9},
    "permuted full": 0.9,
    "step 0": {3000: 0.55},
    "step 0 full": 0.6,
    "step 100": {100: 0.6, 300: 0.65},
    "step 100 full": 0.7,
    "best_error_bound": 0.4,
    "biases": (0.7, 0.7),
    "head": (0.7, 0.7),
}
"""Numbers under which every claim but that on modules holds: curves by d, and pairs of a way and as many at random."""


@pytest.fixture(scope="session")
def made_up_search() -> Callable[..., Result]:
    """Make the pooled result of the intrinsic-dimension study, some numbers set; none stands for not measured."""

    def make(changed: Mapping[str, Any] = {}, *, model: str = "bert", task: str = "rte") -> Result:
        told = {**SEARCHED, **changed}
        place = {"model": model, "task": task, "seed": 1}
        fulls = {"random weights": told["random weights full"], "permuted labels": told["permuted full"]}
        numbers = []
        for name in ("plain", "structure-aware", "random weights", "permuted labels"):
            numbers += _of_search(told, told[name], fulls.get(name, told["full"]), {**place, "part": name})
        for step in (0, 100):
            where = {"task": task, "seed": 1, "model": "bert 1x32", "part": "small encoder", "step": step}
            if told[f"step {step}"]:
                numbers.append(Number(name="masked_loss", value=5.0, unit="nats", where=where))
            numbers += _of_search(told, told[f"step {step}"], told[f"step {step} full"], where)
        numbers += _of_bound(told["best_error_bound"], {**place, "part": "bound"})
        for way in ("biases", "head"):
            numbers += _of_way(way, told[way], {**place, "part": f"as many as {way}"})
        return Result(
            numbers=numbers,
            notes=["a note"],
            settings={"models": [model], "tasks": [task], "d90": {"share": 0.9}},
            provenance={"seconds": 1.5},
            sources=["Somebody"],
        )

    return make


def _near(name: str, value: float, where: Mapping[str, Any]) -> Number:
    return Number(name=name, value=value, interval=(value - 0.02, value + 0.02), where=where)


def _of_search(
    told: Mapping[str, Any], curve: Mapping[int, float] | None, full: float, where: Mapping[str, Any]
) -> list[Number]:
    if curve is None:
        return []
    target = 0.9 * full
    passing = [d for d, value in curve.items() if value >= target]
    failing = [d for d, value in curve.items() if value < target]
    levels = {
        "target_accuracy": target,
        "majority_accuracy": told["majority"],
        "num_moved_parameters": told["num_moved"],
        "num_trainings": 3,
        "smallest_passing": min(passing, default=float("nan")),
        "largest_failing": max(failing, default=float("nan")),
    }
    numbers = [Number(name=name, value=value, where=where) for name, value in levels.items()]
    numbers.append(_near("accuracy", full, {**where, "training": "full"}))
    for d, value in curve.items():
        at = {**where, "training": "subspace", "num_trained": d}
        numbers += [_near("accuracy", value, at), Number(name="learning_rate", value=0.1, where=at)]
    return numbers


def _of_bound(bound: float | None, where: Mapping[str, Any]) -> list[Number]:
    if bound is None:
        return []
    at = {"best_error_bound": bound, "best_num_bits": 2, "num_trained": 1000, "gap": 0.05, "relative_gap": 0.2}
    errors = {"train_error": 0.2, "validation_error": 0.25}
    return [
        *(Number(name=name, value=value, where=where) for name, value in at.items()),
        *(_near(name, value, {**where, "bits": bits}) for name, value in errors.items() for bits in (2, 32)),
        _near("majority_error", 0.5, where),
    ]


def _of_way(way: str, pair: tuple[float, float] | None, where: Mapping[str, Any]) -> list[Number]:
    if pair is None:
        return []
    trained = zip((way, "subspace"), pair, strict=True)
    return [
        *(_near("accuracy", value, {**where, "training": training, "num_trained": 66}) for training, value in trained),
        _near("accuracy", 0.8, {**where, "training": "full"}),
    ]
