"""How few numbers fine-tune a model: d90 with its controls, its bound, and other ways to train as few numbers.

The claims of Aghajanyan, Zettlemoyer & Gupta 2020 (2012.13255, sections 4 and 5): a pretrained model is fine-tuned by
a few hundred numbers that move all parameters, fewer with a factor for each module, fewer the longer it was pretrained,
and the error is bounded by how few they are. We add what these need to mean anything: the same with random weights and
with permuted labels (Zhang et al. 2017, 1611.03530), and as many numbers spent on parameters chosen by their place.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method, Settings
from dimscope.core.result import Number, Result
from dimscope.methods.build.pretrain import Pretraining
from dimscope.methods.finetune.full import FullFineTuning
from dimscope.methods.finetune.lora import Lora
from dimscope.methods.finetune.random_subspace import RandomSubspace
from dimscope.methods.measure.compression_bound import CompressionBound
from dimscope.methods.measure.intrinsic_dimension import IntrinsicDimension
from dimscope.models.folders import folder
from dimscope.models.size import size
from dimscope.numerics.resampling import wilson_interval
from dimscope.report.intrinsic_page import page
from dimscope.report.page import Page
from dimscope.running import run, run_best
from dimscope.scoring.cost import TRAINING, Cost, total
from dimscope.study import Piece, Study, attempted, gathered, placed, pooled_of, require_distinct, say_cost
from dimscope.training.settings import LoopSettings
from dimscope.training.subspace import MapSettings, Subspace, SubspaceSettings

Beside = Literal["structure-aware", "random weights", "permuted labels", "bound"]


class Ways(Settings):
    """Learning rates of other ways to train few numbers, the head always among them; none: that way is left out."""

    lora: tuple[PositiveFloat, ...] = (1e-3, 3e-3)
    """Low-rank adapters of rank 1 in the attention's linear maps."""
    biases: tuple[PositiveFloat, ...] = (1e-3, 3e-3)
    """Every bias (BitFit)."""
    head: tuple[PositiveFloat, ...] = (3e-3, 1e-2)
    """The head alone."""
    last_layer: tuple[PositiveFloat, ...] = (1e-4, 3e-4)
    """The last block."""


class IntrinsicDimensionStudy(Study):
    """How few trained numbers fine-tune a model, beside random weights, permuted labels and other few numbers."""

    sources = (
        "Aghajanyan, Zettlemoyer & Gupta 2020, Intrinsic Dimensionality Explains the Effectiveness of Language Model "
        "Fine-Tuning (2012.13255)",
        "Li, Farkhoor, Liu & Yosinski 2018, Measuring the Intrinsic Dimension of Objective Landscapes (1804.08838)",
    )
    rests_on: ClassVar = ("d90.share",)
    varied: ClassVar = {"d90": ("structure_aware", "head", "weights", "labels"), "pretraining": ("steps", "keep_at")}

    seed: int = Field(1, ge=0)
    """First seed; those that follow are taken too, as many as --d90.num-seeds says."""
    d90: IntrinsicDimension = IntrinsicDimension()
    """How the number is searched for, and which parameters move."""
    beside: tuple[Beside, ...] = get_args(Beside)
    """What the plain search is held against: further searches, each as long as it is, and the bound."""
    scratch_learning_rates: tuple[PositiveFloat, ...] = Field((1e-4, 3e-4, 1e-3), min_length=1)
    """Peak learning rates of the full model where it starts at random weights or little pretraining."""
    permuted_epochs: int = Field(10, ge=1)
    """How often every training sentence is seen when its class is to be learned by heart."""
    bound: CompressionBound = CompressionBound()
    """How the error is bounded."""
    ways: Ways = Ways()
    """What else the same number of trained parameters is spent on."""
    pretraining_steps: tuple[NonNegativeInt, ...] = (0, 500, 1000, 2000)
    """Steps of pretraining after which a small encoder is kept and searched; none: it is not pretrained."""
    pretraining: Pretraining = Pretraining()
    """How the small encoder is pretrained."""

    @property
    def seeds(self) -> range:
        """The seeds of all trainings."""
        return range(self.seed, self.seed + self.d90.num_seeds)

    def reproduce(self, out: Path) -> None:
        """Run every search and what stands beside it, pool all numbers, write summary, tables and page."""
        started = time.monotonic()
        cells = [self.benches(model, task, self.seeds, out) for task in self.tasks for model in self.models]
        require_distinct(bench for cell in cells for bench in cell)
        of_tasks = {cell[0].task.name: cell[0] for cell in cells} if self.pretraining_steps else {}
        self._say_cost([cell[0] for cell in cells], list(of_tasks.values()))
        num_pieces = len(cells) * self._pieces_of_model + len(of_tasks) * (1 + len(self._steps))
        pieces = gathered(chain(*map(self._of_model, cells), *map(self._of_task, of_tasks.values())), num_pieces)
        self.complete(out, _pooled(pieces, [bench for cell in cells for bench in cell]), started)

    def page(self, pooled: Result) -> Page:
        """Give the page of what was pooled."""
        return page(pooled)

    def _of_model(self, benches: Sequence[Bench]) -> Iterator[Piece]:
        """Search plainly and with what is controlled for, bound the error, and try other ways."""
        bench = benches[0]
        about = f"{bench.where['model']} on {bench.where['task']}"
        plain = run(self.d90, bench)
        yield Piece(f"{about}, plain", placed(plain, part="plain"))
        beside: dict[str, Callable[[], Result]] = {
            "structure-aware": partial(self._structure_aware, bench),
            **{name: partial(run, search, bench) for name, search in self._controls().items()},
            "bound": partial(self._bound, bench, plain),
        }
        pieces: dict[str, Callable[[], Result]] = {
            name: measure for name, measure in beside.items() if name in self.beside
        }
        pieces |= {f"as many as {way}": partial(self._way, benches, way) for way in self._rates()}
        for part, measure in pieces.items():
            yield attempted(f"{about}, {part}", measure, part=part)
        # One network in memory at a time, however many models there are.
        for each in benches:
            each.release()

    @property
    def _pieces_of_model(self) -> int:
        return 1 + len(set(self.beside)) + len(self._rates())

    @property
    def _steps(self) -> list[int]:
        return sorted(set(self.pretraining_steps))

    def _controls(self) -> dict[str, IntrinsicDimension]:
        """Give the searches that the plain one must differ from; they differ in settings alone."""
        longer = {"epochs": self.permuted_epochs, "full_epochs": self.permuted_epochs}
        return {
            "random weights": self._from_scratch().model_copy(update={"weights": "random"}),
            "permuted labels": self.d90.model_copy(update={"labels": "permuted", **longer}),
        }

    def _from_scratch(self) -> IntrinsicDimension:
        return self.d90.model_copy(update={"full_learning_rates": self.scratch_learning_rates})

    def _structure_aware(self, bench: Bench) -> Result:
        """Search from as many directions on as the plain search: the modules' factors come on top."""
        moved = {**_shared(self.d90, MapSettings), "structure_aware": True}
        widest = Subspace(bench.load(), SubspaceSettings(**moved, num_trained=self.d90.largest), bench.seed)
        smallest = self.d90.smallest + len(widest.factors)
        return run(self.d90.model_copy(update={"structure_aware": True, "smallest": smallest}), bench)

    def _bound(self, bench: Bench, plain: Result) -> Result:
        """Train as many numbers as passed, and bound the error of that model."""
        passing = plain.value("smallest_passing")
        if math.isnan(passing):
            raise UserError("no number of trained numbers passed, so there is none to take")
        num_trained = int(passing)
        rate = plain.value("learning_rate", num_trained=num_trained)
        shared = {**_shared(self.d90, MapSettings), **_shared(self.d90, LoopSettings)}
        trained = run(RandomSubspace(**shared, num_trained=num_trained, learning_rate=rate), bench)
        return run(self.bound, bench.finetuned(str(trained.checkpoint)))

    def _rates(self) -> dict[str, tuple[float, ...]]:
        """Give the learning rates of the ways that are taken."""
        return {way: rates for way, rates in self.ways if rates}

    def _way(self, benches: Sequence[Bench], way: str) -> Result:
        """Train one way, and a random subspace of as many numbers."""
        by_rate = [self._training(way, rate) for rate in self._rates()[way]]
        runs = run_best(by_rate, benches)
        num_trained = int(runs[0].value("num_trained"))
        place = {**benches[0].where, "training": way, "num_trained": num_trained, "weights": "fine-tuned"}
        num_scored = len(benches[0].labels("validation"))
        own = [replace(each, where=place) for each in _scores(runs, num_scored)]
        as_many = run(self._just(num_trained), benches[0])
        return Result(numbers=[*own, *as_many.numbers], notes=runs[0].notes)

    def _training(self, way: str, learning_rate: float) -> Method:
        shared = {**_shared(self.d90, LoopSettings), "learning_rate": learning_rate}
        return Lora(**shared, rank=1) if way == "lora" else FullFineTuning(**shared, trained=way)

    def _just(self, num_trained: int) -> IntrinsicDimension:
        """Give the search that tries this number alone, and gives up no training that beats the majority class."""
        only = {"smallest": num_trained, "largest": num_trained, "hopeless_share": 0.0}
        return self.d90.model_copy(update=only)

    def _of_task(self, like: Bench) -> Iterator[Piece]:
        """Pretrain a small encoder on the task's texts, and search from each of its steps."""
        about, steps = f"small encoder on {like.where['task']}", self._steps
        pretraining = self.pretraining.model_copy(update={"keep_at": tuple(steps), "steps": steps[-1]})
        series = attempted(
            about,
            partial(run, pretraining, self.bench("tiny/bert", like.task, self.seed, like.store.root)),
            part="small encoder",
        )
        yield series
        for step in steps if series.result.checkpoint else ():
            kept = like.store.checkpoint(str(series.result.checkpoint)) / f"step-{step}"
            measure = partial(run, self._from_scratch(), self.bench(str(kept), like.task, self.seed, like.store.root))
            model = str(series.result.numbers[0].where["model"])
            yield attempted(f"{about}, step {step}", measure, part="small encoder", model=model, step=step)

    def _say_cost(self, benches: Sequence[Bench], of_tasks: Sequence[Bench]) -> None:
        costs = [*map(self._cost, benches), *map(self._series_cost, of_tasks)]
        say_cost(total(costs), benches[0], self.d90.resolved(benches[0]).precision)

    def _cost(self, bench: Bench) -> Cost:
        """Give what a model on a task takes, roughly; what is trained alike is counted each time."""
        rates, just = self._rates(), self._just(self.d90.smallest)
        as_many = just.cost(bench)
        # The structure-aware search is as long as the plain one, another way as long as the subspace of as many.
        beside = {"structure-aware": self.d90, **self._controls(), "bound": just}
        costs = [each.cost(bench) for each in (self.d90, *(beside[name] for name in set(self.beside)))]
        costs += [as_many] * (2 * len(rates))
        num_checkpoints = ("bound" in self.beside) + sum(len(each) + len(self.seeds) - 1 for each in rates.values())
        bench.release()
        return replace(
            total(costs),
            num_sentences=as_many.num_sentences,
            num_parameters=as_many.num_parameters,
            disk_bytes=4 * num_checkpoints * as_many.num_parameters,
        )

    def _series_cost(self, bench: Bench) -> Cost:
        """Give what the small encoder takes: its searches are as much cheaper as it is smaller."""
        how, steps, alike = self.pretraining, self._steps, self._from_scratch().cost(bench)
        num_multiplied = how.num_layers * how.hidden_size * (4 * how.hidden_size + 2 * how.intermediate_size)
        share = len(steps) * num_multiplied / size(folder(bench.source)).num_multiplied
        num_tokens = steps[-1] * how.batch_size * float(bench.encoded("train").lengths.mean())
        return Cost(
            num_runs=1 + len(steps) * alike.num_runs,
            num_sentences=0,
            num_parameters=0,
            disk_bytes=4 * len(steps) * (num_multiplied + how.vocabulary * how.hidden_size),
            training=share * alike.training + TRAINING * num_multiplied * num_tokens,
            measuring=share * alike.measuring,
        )


def _shared(settings: Settings, of: type[Settings]) -> dict[str, Any]:
    """Give the settings that methods have in common."""
    return settings.model_dump(include=set(of.model_fields))


def _scores(runs: Sequence[Result], num_scored: int) -> list[Number]:
    """Give the mean accuracy over seeds with the interval of as many sentences, as the searches do."""
    score = float(np.mean([each.value("accuracy") for each in runs]))
    interval = wilson_interval(round(score * num_scored), num_scored)
    return [
        Number(name="accuracy", value=score, better="higher", interval=interval),
        Number(name="learning_rate", value=runs[0].settings["learning_rate"]),
    ]


def _pooled(pieces: Sequence[Piece], benches: Sequence[Bench]) -> Result:
    """Give all numbers, and what there is to know about the data before what there is about the searches."""
    pooled = pooled_of(pieces, benches)
    notes = [*(note for bench in benches for note in bench.task.notes), *pooled.notes]
    return replace(pooled, arrays={}, notes=list(dict.fromkeys(notes)))
