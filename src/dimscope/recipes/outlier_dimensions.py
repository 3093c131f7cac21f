"""Outlier dimensions encode task-specific knowledge: does the widest dimension of a fine-tuned model do the task alone?

The claims of Rudman, Chen & Eickhoff 2023 (EMNLP, 2310.17715): outlier dimensions persist through fine-tuning; one
of them, with one threshold, does the task with little loss; variance goes with 1-D accuracy. Their tables were not
recovered, so the qualitative claims are what the page compares with, and every number has its controls beside it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field, NonNegativeInt

from dimscope.bench import Bench
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Array, Number, Result
from dimscope.methods.finetune.full import FullFineTuning
from dimscope.methods.intervene.ablate_dimensions import AblateDimensions
from dimscope.methods.intervene.steer import Steer
from dimscope.methods.locate.dimension_writers import DimensionWriters
from dimscope.methods.measure.activation_profile import ActivationProfile, as_array, profile
from dimscope.methods.measure.one_dimension import OneDimension
from dimscope.methods.measure.outlier_dimensions import OutlierDimensions
from dimscope.methods.measure.persistence import Persistence, compare
from dimscope.models.folders import folder
from dimscope.models.size import size
from dimscope.report.outlier_dimensions import models_and_tasks, page
from dimscope.report.page import Page
from dimscope.running import run
from dimscope.scoring.cost import FORWARD, TRAINING, Cost, num_tokens, total
from dimscope.scoring.over_seeds import over_seeds
from dimscope.study import Study, attempted, require_distinct, say_cost

RUNS_PER_BENCH = 11  # one training, three measures before and after it, persistence, ablation, editing, writers
WEIGHTS = ("pretrained", "fine-tuned")


@dataclass
class Cell:
    """One model on one task: a bench per seed, and what came out of each."""

    benches: list[Bench]
    results: list[Result] = field(default_factory=list)

    @property
    def place(self) -> tuple[str, str]:
        """The model and the task."""
        return str(self.benches[0].where["model"]), str(self.benches[0].where["task"])

    @property
    def name(self) -> str:
        """The name that its arrays begin with."""
        return "/".join(self.place)

    def stacked(self, method: type[Method], array: str, weights: str) -> np.ndarray:
        """One array of one method for every seed, stacked along a first axis."""
        return np.stack(
            [
                result.arrays[array].values
                for result in self.results
                if result.method == method.name() and result.numbers[0].where["weights"] == weights
            ]
        )

    def outliers(self, weights: str) -> np.ndarray:
        """Which dimensions are outliers under every seed [seed, dim]; at the first site, if there are several."""
        return self.stacked(OutlierDimensions, "is_outlier", weights)[:, 0, 0]

    def notes(self) -> list[str]:
        """Everything that a reader should know about the data and the runs."""
        return [*self.benches[0].task.notes, *(note for result in self.results for note in result.notes)]

    def tuned(self) -> list[Bench]:
        """The benches after fine-tuning, in the order of the seeds."""
        trained = (result for result in self.results if result.checkpoint)
        return [bench.finetuned(str(result.checkpoint)) for bench, result in zip(self.benches, trained, strict=True)]


class OutlierDimensionsStudy(Study):
    """Outlier dimensions before and after fine-tuning: what persists, and what one dimension can do."""

    sources = ("Rudman, Chen & Eickhoff 2023, Outlier Dimensions Encode Task-Specific Knowledge (EMNLP, 2310.17715)",)
    said: ClassVar = ("one_dimension_fine-tuned",)
    rests_on: ClassVar = ("outliers",)

    seeds: tuple[NonNegativeInt, ...] = Field((1, 2, 3, 4), min_length=1)
    """Every model is fine-tuned once per seed."""
    finetune: FullFineTuning = FullFineTuning()
    """How the models are fine-tuned."""
    outliers: OutlierDimensions = OutlierDimensions()
    """How outlier dimensions are told."""
    one_dimension: OneDimension = OneDimension()
    """How single dimensions are tried."""
    persistence: Persistence = Persistence()
    """How sets before and after are compared."""
    profile: ActivationProfile = ActivationProfile()
    """How the activation diagrams are drawn up."""
    ablation: AblateDimensions = AblateDimensions()
    """How dimensions are taken out."""
    editing: Steer = Steer(direction="principal")
    """How the principal dimension is moved."""
    writers: DimensionWriters = DimensionWriters()
    """How it is taken apart into what heads and MLPs write."""

    def reproduce(self, out: Path) -> None:
        """Run every method on every bench, pool over seeds, write summary, tables and page."""
        started = time.monotonic()
        cells = [Cell(self.benches(model, task, self.seeds, out)) for task in self.tasks for model in self.models]
        require_distinct(bench for cell in cells for bench in cell.benches)
        first = cells[0].benches[0]
        say_cost(total([self._cost(cell) for cell in cells]), first, self.finetune.resolved(first).precision)
        with work("the whole study", sum(len(cell.benches) for cell in cells) * RUNS_PER_BENCH) as done:
            for cell in cells:
                for bench in cell.benches:
                    for result in self._runs(bench):
                        cell.results.append(result)
                        done(1)
        self.complete(out, self._pooled(cells), started)

    def page(self, pooled: Result) -> Page:
        """Give the page of what was pooled."""
        return page(pooled)

    def over_all(self, whole: Result) -> Result:
        """Add how far the outlier sets of all tasks and seeds agree, for every model."""
        across, rates = _persistence(whole.arrays, models_and_tasks(whole), self.seeds[0])
        return replace(whole, numbers=[*whole.numbers, *across], arrays={**whole.arrays, **rates})

    def _cost(self, cell: Cell) -> Cost:
        """What training, states and logits, and ablation after every layer will take, roughly."""
        first, num_seeds = cell.benches[0], len(cell.benches)
        sizes = size(folder(first.source))
        train, held_out = (
            num_tokens(first.task.split(each).inputs(), self.max_length) for each in ("train", "validation")
        )
        num_passes = len(self.ablation.fills) * (3 + 2 * self.ablation.num_layer_draws)
        ablated = num_passes * held_out * min(1, self.ablation.max_layer_sentences / len(first.task.validation))
        seen = (num_seeds + 1) * (train + held_out) + num_seeds * (self.finetune.epochs * held_out + ablated)
        return Cost(
            num_runs=num_seeds * RUNS_PER_BENCH,
            num_sentences=len(first.task.train) + len(first.task.validation),
            num_parameters=sizes.num_parameters,
            disk_bytes=num_seeds * sizes.num_parameters * 4,
            training=TRAINING * sizes.num_multiplied * num_seeds * self.finetune.epochs * train,
            measuring=FORWARD * sizes.num_multiplied * seen,
        )

    def _runs(self, bench: Bench) -> Iterator[Result]:
        """Fine-tune, then measure before and after."""
        trained = run(self.finetune, bench)
        yield trained
        tuned = bench.finetuned(str(trained.checkpoint))
        measures: list[Method] = [self.outliers, self.one_dimension, self.profile]
        for each in (bench, tuned):
            yield from (run(method, each) for method in measures)
        yield run(self.persistence, tuned)
        yield run(self.ablation, tuned)
        yield run(self.editing, tuned)
        yield attempted("where ρ is written", lambda: run(self.writers, tuned)).result
        # One network in memory at a time, however many seeds there are.
        bench.release()

    def _pooled(self, cells: Sequence[Cell]) -> Result:
        """Every number of every run, their averages over seeds, and what only all of them together can tell."""
        numbers = [number for cell in cells for result in cell.results for number in result.numbers]
        arrays = {name: array for cell in cells for name, array in self._arrays(cell).items()}
        notes = [note for cell in cells for note in cell.notes()]
        whole = Result(
            # What is told by rank is of another part under every seed.
            numbers=[*numbers, *over_seeds(each for each in numbers if "rank" not in each.where)],
            arrays=arrays,
            notes=list(dict.fromkeys(notes)),
            bench={"benches": [dict(bench.spec) for cell in cells for bench in cell.benches]},
        )
        return self.over_all(whole)

    def _arrays(self, cell: Cell) -> dict[str, Array]:
        """What the page draws of one model on one task: by weights, and by seed or averaged over seeds."""
        ticks = {"weights": WEIGHTS}
        seeds = {**ticks, "seed": [str(seed) for seed in self.seeds]}
        by_seed = {
            "variance": np.stack([cell.stacked(OutlierDimensions, "variance", each)[:, 0, 0] for each in WEIGHTS]),
            "is_outlier": np.stack([cell.outliers(each) for each in WEIGHTS]),
        }
        accuracy = np.stack([cell.stacked(OneDimension, "accuracy", each).mean(axis=0) for each in WEIGHTS])
        rules = ["exact", "grid"][: accuracy.shape[1]]
        averaged = {
            "accuracy": Array(accuracy, ("weights", "rule", "dim"), ticks={**ticks, "rule": rules}),
            "profile": self._profiles(cell),
            **self._writers_shares(cell),
        }
        arrays = {name: Array(values, ("weights", "seed", "dim"), ticks=seeds) for name, values in by_seed.items()}
        return {f"{cell.name}/{name}": array for name, array in {**arrays, **averaged}.items()}

    def _writers_shares(self, cell: Cell) -> dict[str, Array]:
        """The shares of heads and MLPs in ρ's variance, averaged over seeds; none if a seed's could not be told."""
        told = [result.arrays for result in cell.results if result.method == DimensionWriters.name()]
        if len(told) < len(cell.benches):
            return {}
        axes = {"heads_variance_share": ("layer", "head"), "mlp_variance_share": ("layer",)}
        return {
            name: Array(np.mean([arrays[name].values for arrays in told], axis=0), each) for name, each in axes.items()
        }

    def _profiles(self, cell: Cell) -> Array:
        """The activation diagrams of the states averaged over seeds, sentence by sentence."""
        of = self.profile

        def average(benches: Sequence[Bench]) -> np.ndarray:
            states = [bench.states(of.split, of.site, of.pooling) for bench in benches]
            return np.asarray(np.mean(states, axis=0, dtype=np.float64))

        values = np.stack([profile(average(benches)) for benches in (cell.benches[:1], cell.tuned())])
        statistics = as_array(values[0]).ticks["statistic"]
        return Array(values, ("weights", "statistic", "dim"), ticks={"weights": WEIGHTS, "statistic": statistics})


def _persistence(
    arrays: Mapping[str, Array], places: Sequence[tuple[str, str]], seed: int
) -> tuple[list[Number], dict[str, Array]]:
    """Per model, the outlier sets of all tasks and seeds against each other, before and after fine-tuning."""
    numbers: list[Number] = []
    found: dict[str, Array] = {}
    for model in dict.fromkeys(model for model, _ in places):
        own = [arrays[f"{model}/{task}/is_outlier"].values for name, task in places if name == model]
        for weights, members in zip(WEIGHTS, np.concatenate(own, axis=1), strict=True):
            sets = [np.flatnonzero(row) for row in members]
            across, rates = compare(sets, members.shape[1], seed)
            where = {"model": model, "weights": weights, "task": "all", "seed": "all"}
            numbers += [replace(number, where=where) for number in across]
            found[f"{model}/{weights}/persistence_rate"] = rates
    return numbers, found
