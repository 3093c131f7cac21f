"""How few trained numbers fine-tune a model: the smallest d that reaches 90 % of the full model's score, as a bracket.

θ = θ₀ + P z with d numbers z: Li et al. 2018 (1804.08838, section 2) for the measure; Aghajanyan et al. 2020
(2012.13255, section 3) for fine-tuning, where it is called d90. We differ: the answer is the largest d that failed and
the smallest that passed above it, narrowed by bisection; a score is the mean over seeds; P is that of
`dimscope.numerics.projections`; and it is told whether 90 % of the full score is more than the majority class gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from torch import nn

from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.progress import say, work
from dimscope.core.result import Array, Number, Result
from dimscope.numerics.bracket import Bracket, log_grid, most_to_try, next_to_try
from dimscope.numerics.resampling import wilson_interval
from dimscope.scoring.classification import majority
from dimscope.scoring.cost import FORWARD, TRAINING, Cost, in_words, speed
from dimscope.training.settings import LoopSettings, TrainingSettings
from dimscope.training.subspace import MapSettings, Subspace, SubspaceSettings
from dimscope.training.trial import Labels, Trial, Weights, split_scored, starting_network
from dimscope.training.trials import Scored, SpentError, Trials

_RATES_ARE_OF = 1_000
_BYTES_PER_TRIAL = 5_000


class IntrinsicDimension(MapSettings, LoopSettings, Method):
    """The smallest number of trained numbers that reaches a share of the full model's accuracy, as a bracket."""

    sources = (
        "Li, Farkhoor, Liu & Yosinski 2018 (1804.08838), section 2",
        "Aghajanyan, Zettlemoyer & Gupta 2020 (2012.13255), section 3",
    )
    version = 2
    in_all_processes = True

    share: float = Field(0.9, gt=0, le=1)
    """Share of the full model's accuracy that is to be reached."""
    smallest: int = Field(10, ge=1)
    """Smallest d that is tried."""
    largest: int = Field(10_000, ge=1)
    """Largest d that is tried."""
    points_per_decade: int = Field(2, ge=1)
    """How many d of the grid lie between one and ten times as much."""
    search: Literal["bracket", "grid"] = "bracket"
    """Try only what narrows the bracket; or all of the grid, which shows a curve that falls again."""
    bracket_ratio: float = Field(1.5, gt=1)
    """The bracket is halved until its upper end is at most so many times its lower end."""
    learning_rates: tuple[PositiveFloat, ...] = Field((0.03, 0.1, 0.3), min_length=1)
    """Peak learning rates of 1,000 trained numbers, all tried with the first seed; those of d are √(1000/d) times as
    large, so that a step moves the model as far."""
    num_seeds: int = Field(2, ge=1)
    """Trainings with the best learning rate: the bench's seed and those that follow."""
    epochs: int = Field(2, ge=1)
    """How often every training sentence is seen when d numbers are trained."""
    full_learning_rates: tuple[PositiveFloat, ...] = Field((5e-5, 1e-4), min_length=1)
    """Peak learning rates of the full model, all tried with the first seed."""
    full_epochs: int = Field(2, ge=1)
    """How often every training sentence is seen when all parameters are trained."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decoupled weight decay, of the trained numbers and of the full model."""
    hopeless_share: float = Field(0.25, ge=0, le=1)
    """Share of the way from the majority's accuracy to the target that a training must have made after half of its
    epochs; else it is given up."""
    labels: Labels = "true"
    """The training sentences' classes: as they are, or permuted and then scored on the training data itself."""
    weights: Weights = "pretrained"
    """Where training starts: at the bench's weights, or at those that the model's own initializer draws."""
    max_trainings: int | None = Field(None, ge=1)
    """No training begins after so many; the answer is the bracket so far. None: no limit."""
    max_minutes: float | None = Field(None, gt=0)
    """No training begins after so many minutes of training; the answer is the bracket so far. None: no limit."""

    def run(self, bench: Bench) -> Result:
        """Train the full model, then search.

        Raises:
            UserError: the smallest d is above the largest, the model cannot be moved by so many numbers, or the budget
                is spent before the full model's accuracy is known.
        """
        grid = self._grid()
        num_moved = self._num_moved(bench, grid)
        most = self._most_trainings(grid)
        say(self._cost_in_words(bench))
        with work("trainings", most) as done:
            trials = Trials(self.name(), bench, self.num_seeds, done, self.max_trainings, self.max_minutes)
            full = self._full(trials)
            level = self._level(bench, full.score)
            say(f"full model {full.score:.3f}, to reach {level.target:.3f}, majority class {level.majority:.3f}")
            points, is_spent = self._search(trials, grid, level)
        numbers = [*_numbers(self, bench, full, points, level), *_counts(trials, num_moved)]
        start = {"weights": "random"} if self.weights == "random" else {}
        return Result(
            numbers=numbers, arrays=_arrays(self, bench, full, points), notes=_notes(self, points, level, is_spent)
        ).at({**start, "labels": self.labels})

    def _grid(self) -> list[int]:
        if self.smallest > self.largest:
            raise UserError(f"wanted a smallest d of at most the largest, {self.largest:,}; got {self.smallest:,}")
        return log_grid(self.smallest, self.largest, self.points_per_decade)

    def _num_moved(self, bench: Bench, grid: Sequence[int]) -> int:
        """Give the number of moved parameters, and refuse before the first hour what would be refused after it."""
        network = starting_network(self._trial(None, self.full_learning_rates[0], None), bench, bench.seed)
        ends = [Subspace(network, self._subspace(d), bench.seed) for d in (grid[0], grid[-1])]
        return ends[0].num_moved

    def _subspace(self, d: int) -> SubspaceSettings:
        return SubspaceSettings(**self.model_dump(include=set(MapSettings.model_fields)), num_trained=d)

    def _trial(self, d: int | None, learning_rate: float, hopeless_below: float | None) -> Trial:
        """Give the training of d numbers; none: of all parameters."""
        shared = self.model_dump(include=set(LoopSettings.model_fields))
        epochs = self.full_epochs if d is None else self.epochs
        return Trial(
            training=TrainingSettings(**{**shared, "epochs": epochs}, learning_rate=learning_rate),
            subspace=None if d is None else self._subspace(d),
            labels=self.labels,
            weights=self.weights,
            hopeless_below=hopeless_below,
        )

    def _full(self, trials: Trials) -> Scored:
        try:
            return trials.scored([self._trial(None, rate, None) for rate in self.full_learning_rates])
        except SpentError as error:
            raise UserError(
                f"the budget was spent by {len(trials.results)} trainings of the full model, so what is to be reached "
                "is not known: allow more trainings or minutes. What is finished is kept"
            ) from error

    def _level(self, bench: Bench, full: float) -> _Level:
        of_majority = float((bench.labels(split_scored(self.labels)) == majority(bench.labels("train"))).mean())
        return _Level(self.share * full, of_majority, self.hopeless_share)

    def _search(self, trials: Trials, grid: Sequence[int], level: _Level) -> tuple[dict[int, Scored], bool]:
        """Try one d after the other until all that was to be tried was, or the budget is spent: then it tells so."""
        points: dict[int, Scored] = {}
        every = self.search == "grid"
        while (d := next_to_try(level.passes(points), grid, self.bracket_ratio, every)) is not None:
            try:
                points[d] = trials.scored([self._trial(d, rate, level.hopeless) for rate in self.rates(d)])
            except SpentError:
                return points, True
            say(f"d = {d:,}: {points[d].score:.3f}, {'passes' if points[d].score >= level.target else 'fails'}")
        return points, False

    def rates(self, d: int) -> list[float]:
        """Give the learning rates of d numbers: orthonormal columns make a step of AdamW about rate · √d long."""
        return [rate * math.sqrt(_RATES_ARE_OF / d) for rate in self.learning_rates]

    @property
    def _num_full(self) -> int:
        return len(self.full_learning_rates) + self.num_seeds - 1

    def _most_trainings(self, grid: Sequence[int]) -> int:
        num_points = most_to_try(grid, self.bracket_ratio, self.search == "grid")
        most = self._num_full + num_points * (len(self.learning_rates) + self.num_seeds - 1)
        return min(most, self.max_trainings or most)

    def cost(self, bench: Bench) -> Cost:
        """Give what the trainings cost if none is given up."""
        most = self._most_trainings(self._grid())
        parameters = list(bench.network.model.parameters())
        looked_up = {id(part.weight) for part in bench.network.model.modules() if isinstance(part, nn.Embedding)}
        num_multiplied = sum(each.numel() for each in parameters if id(each) not in looked_up)
        num_epochs = self._num_full * self.full_epochs + max(most - self._num_full, 0) * self.epochs
        learned, scored = (bench.encoded(each).lengths.sum() for each in ("train", split_scored(self.labels)))
        return Cost(
            num_runs=most,
            num_sentences=len(bench.labels("train")),
            num_parameters=sum(each.numel() for each in parameters),
            disk_bytes=most * _BYTES_PER_TRIAL,
            training=TRAINING * num_multiplied * num_epochs * float(learned),
            measuring=FORWARD * num_multiplied * num_epochs * float(scored),
        )

    def _cost_in_words(self, bench: Bench) -> str:
        cost, trained_in = self.cost(bench), getattr(torch, self.precision)
        seconds = cost.seconds(speed(bench.device, trained_in), speed(bench.device, torch.float32))
        return in_words(cost, min(seconds, 60 * (self.max_minutes or math.inf)))


@dataclass(frozen=True)
class _Level:
    """What is to be reached, what the majority class gives, and how much of the way between them shows hope."""

    target: float
    majority: float
    hopeless_share: float

    @property
    def hopeless(self) -> float:
        """The accuracy below which a training is given up."""
        return min(self.target, self.majority + self.hopeless_share * (self.target - self.majority))

    def passes(self, points: Mapping[int, Scored]) -> dict[int, bool]:
        """Tell which d reach it."""
        return {d: point.score >= self.target for d, point in points.items()}


def _numbers(
    settings: IntrinsicDimension, bench: Bench, full: Scored, points: Mapping[int, Scored], level: _Level
) -> list[Number]:
    """Give the bracket, the levels, and the curve."""
    passes = level.passes(points)
    bracket = Bracket.of(passes)
    failing, passing = (math.nan if end is None else end for end in (bracket.failing, bracket.passing))
    num_scored = len(bench.labels(split_scored(settings.labels)))
    numbers = [
        Number(name="largest_failing", value=failing, unit="trained numbers", better="lower"),
        Number(name="smallest_passing", value=passing, unit="trained numbers", better="lower"),
        Number(name="target_accuracy", value=level.target),
        Number(name="majority_accuracy", value=level.majority, better="higher"),
        Number(name="target_above_majority", value=level.target - level.majority),
        Number(
            name="num_passing_below", value=sum(passed and d < (bracket.failing or 0) for d, passed in passes.items())
        ),
        *_scores(full, settings.full_learning_rates, num_scored, {"training": "full"}),
    ]
    for d, point in sorted(points.items()):
        numbers += _scores(point, settings.rates(d), num_scored, {"training": "subspace", "num_trained": d})
    return numbers


def _scores(point: Scored, rates: Sequence[float], num_scored: int, where: Mapping[str, str | int]) -> list[Number]:
    """Give accuracy and learning rate; the interval is that of the sentences scored, not of the seeds."""
    interval = wilson_interval(round(point.score * num_scored), num_scored)
    return [
        Number(name="accuracy", value=point.score, better="higher", interval=interval, where=where),
        Number(name="learning_rate", value=rates[point.best], where=where),
    ]


def _counts(trials: Trials, num_moved: int) -> list[Number]:
    return [
        Number(name="num_moved_parameters", value=num_moved),
        Number(name="num_trainings", value=len(trials.results)),
        Number(name="num_given_up", value=trials.count("is_stopped")),
        Number(name="num_diverged", value=trials.count("is_diverged")),
    ]


def _arrays(settings: IntrinsicDimension, bench: Bench, full: Scored, points: Mapping[int, Scored]) -> dict[str, Array]:
    """Give every training's accuracy, NaN where there was none."""
    seeds = [str(bench.seed + further) for further in range(settings.num_seeds)]
    ticks = {"learning_rate": [f"{rate:g}" for rate in settings.learning_rates], "seed": seeds}
    full_ticks = {"learning_rate": [f"{rate:g}" for rate in settings.full_learning_rates], "seed": seeds}
    arrays = {"full_accuracy": Array(full.accuracies, ("learning_rate", "seed"), ticks=full_ticks)}
    if points:
        by_d = np.stack([points[d].accuracies for d in sorted(points)])
        tried = {"num_trained": [str(d) for d in sorted(points)], **ticks}
        arrays["accuracy"] = Array(by_d, ("num_trained", "learning_rate", "seed"), ticks=tried)
    return arrays


def _notes(settings: IntrinsicDimension, points: Mapping[int, Scored], level: _Level, is_spent: bool) -> list[str]:
    bracket = Bracket.of(level.passes(points))
    notes = [
        f"Projection {settings.projection}; trained with products in {settings.precision}; scored in float32.",
        "The learning rate was chosen by the first seed's score, which therefore is a little too high, for every d as "
        "for the full model.",
    ]
    if level.target <= level.majority:
        notes.append(
            f"{settings.share:.0%} of the full model's accuracy are {level.target:.3f}, and the majority class alone "
            f"gives {level.majority:.3f}: to reach that tells nothing."
        )
    if is_spent:
        notes.append("The budget was spent before the bracket was as narrow as asked for: it is the bracket so far.")
    elif bracket.passing is None:
        notes.append(f"No d up to {settings.largest:,} passed.")
    elif bracket.failing is None:
        notes.append(f"Every d from {settings.smallest:,} on passed.")
    if settings.labels == "permuted":
        notes.append("Permuted classes can only be learned by heart: all accuracies are those on the training data.")
    return notes
