"""What recipes share that ask models × tasks: benches, pieces, one pooled result, and what is written of it.

A study may have many pieces, of which some cannot be measured on some models: then a note says why, and all others are.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Settings
from dimscope.core.processes import is_main
from dimscope.core.progress import say, work
from dimscope.core.provenance import RESULT_VERSION, digest, provenance
from dimscope.core.recipe import Recipe
from dimscope.core.result import Result
from dimscope.data.catalogue import load_task
from dimscope.data.options import TaskOptions
from dimscope.data.prompt_task import PromptTask
from dimscope.data.task import Task
from dimscope.report.joined import joined
from dimscope.report.page import Page
from dimscope.report.written import write_page
from dimscope.scoring.cost import Cost, in_words, speed
from dimscope.store.index import write_summary
from dimscope.store.layout import Store
from dimscope.training.processes import wait_for_all


class Study(TaskOptions, Recipe):
    """A recipe on any models and tasks; its pooled result is kept under its settings."""

    varied: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """What the study sets itself in the settings of its methods, and a user may not."""
    said: ClassVar[tuple[str, ...]] = ()
    """Names of the tables that are printed too, beside the answers."""
    rests_on: ClassVar[tuple[str, ...]] = ()
    """Settings ('group.name' too) that the page speaks of as one: studies that are joined must agree in them."""

    models: tuple[str, ...] = Field(("minilm",), min_length=1)
    """Aliases (see `dimscope list models`), hub ids, or local folders."""
    tasks: tuple[str, ...] = Field(("movie_reviews",), min_length=1)
    """Aliases (see `dimscope list tasks`), glue/<name>, or files."""
    device: str = "auto"
    """cpu, cuda, or auto: the GPU if there is one."""

    @model_validator(mode="after")
    def _leaves_out_what_is_varied(self) -> Self:
        for group, names in self.varied.items():
            settings: Settings = getattr(self, group)
            fields = type(settings).model_fields
            for name in names:
                if getattr(settings, name) != fields[name].default:
                    raise ValueError(f"the study sets {group}.{name} itself: leave it out")
        return self

    @abstractmethod
    def page(self, pooled: Result) -> Page:
        """Give the page of what was pooled."""

    @classmethod
    def pooled_name(cls) -> str:
        """Give the name under which the pooled result is kept: 'recipe/outlier_dimensions'."""
        return f"recipe/{cls.name()}"

    def benches(self, model: str, task: str, seeds: Sequence[int], out: Path) -> list[Bench]:
        """Give a bench for each seed; the task is read once.

        Raises:
            UnknownName: no such model or task.
            UserError: the data cannot be read.
        """
        options = {name: getattr(self, name) for name in TaskOptions.model_fields}
        loaded = load_task(task, TaskOptions(**options))
        return [self.bench(model, loaded, seed, out) for seed in seeds]

    def bench(self, model: str, task: str | Task | PromptTask, seed: int, out: Path) -> Bench:
        """Give a bench on the study's device; a task that is read already was read as the study says."""
        names = TaskOptions.model_fields if isinstance(task, str) else ["max_length"]
        options = {name: getattr(self, name) for name in names}
        return Bench(model, task, seed=seed, device=self.device, out=out, **options)

    def complete(self, out: Path, pooled: Result, started: float) -> None:
        """Keep what was pooled since `started` (time.monotonic) and write what people read, in one process of all."""
        if is_main():
            self.keep(out, pooled, time.monotonic() - started)
            self.report(out)
        wait_for_all()

    def report(self, out: Path) -> None:
        """Write summary, tables and page again.

        Raises:
            UserError: the study has not been finished.
        """
        pooled = self.kept(out)
        self.write(out, pooled, self.page(pooled))

    @classmethod
    def join(cls, studies: Mapping[Path, Self], out: Path) -> None:
        """Write summary, tables and page of several studies, kept in those folders, as those of one.

        Raises:
            UserError: a study has not been finished, two tell different numbers of one model and task, or they differ
                in what the page rests on.
        """
        first, *others = studies.values()
        for name in cls.rests_on:
            if any(attrgetter(name)(other) != attrgetter(name)(first) for other in others):
                raise UserError(f"wanted studies that agree in {name}, on which the page rests: report them apart")
        pooled = first.over_all(joined({str(folder): study.kept(folder) for folder, study in studies.items()}))
        cls.write(out, pooled, first.page(pooled))

    def over_all(self, whole: Result) -> Result:
        """Add what only all models and tasks together can tell; where there is no such thing, nothing."""
        return whole

    @classmethod
    def write(cls, out: Path, pooled: Result, page: Page) -> None:
        """Write what people read, and say the answers."""
        write_summary(out, cls.name(), pooled.numbers)
        say("\n".join(f"{about}: {' '.join(sentences)}" for about, sentences in page.answers.items()))
        for table in (each for each in page.tables if each.name in cls.said):
            say(f"{table.caption}\n{table.frame.to_string(index=False)}")
        say(f"The page: {write_page(out, page)}")

    def keep(self, out: Path, pooled: Result, seconds: float) -> None:
        """Keep what was pooled, with who made it."""
        stamped = replace(
            pooled,
            method=self.pooled_name(),
            sources=self.sources,
            settings=self.model_dump(mode="json"),
            provenance=provenance(seconds),
        )
        Store(out).save_run(self.pooled_name(), self._key(), stamped)

    def kept(self, out: Path) -> Result:
        """Give what was pooled.

        Raises:
            UserError: the study has not been finished.
        """
        pooled = Store(out).load_run(self.pooled_name(), self._key())
        if pooled is None:
            raise UserError(f"the study in {out} is not finished: run `dimscope reproduce` with the same words again")
        return pooled

    def _key(self) -> str:
        return digest({"settings": self.model_dump(mode="json"), "result_version": RESULT_VERSION})


def require_distinct(benches: Iterable[Bench]) -> None:
    """Refuse benches whose numbers would stand at one place.

    Raises:
        UserError: two have the same model, task and seed.
    """
    names = [f"{bench.where['model']}/{bench.where['task']}, seed {bench.seed}" for bench in benches]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UserError(
            f"{repeated[0]} would be there twice: name every model, task and seed once, and give files different names"
        )


@dataclass(frozen=True)
class Piece:
    """What came out of a piece of a study, and what it is about."""

    about: str
    result: Result


def gathered(pieces: Iterable[Piece], num_pieces: int) -> list[Piece]:
    """Measure piece after piece, with progress."""
    found = []
    with work("the whole study", num_pieces) as done:
        for piece in pieces:
            found.append(piece)
            done(1)
    return found


def pooled_of(pieces: Sequence[Piece], benches: Iterable[Bench]) -> Result:
    """Give all numbers, all arrays with what they are about, and all that a reader should know."""
    return Result(
        numbers=[number for piece in pieces for number in piece.result.numbers],
        arrays={f"{piece.about}/{name}": each for piece in pieces for name, each in piece.result.arrays.items()},
        notes=notes_of(pieces),
        bench={"benches": [dict(bench.spec) for bench in benches]},
    )


def attempted(about: str, measure: Callable[[], Result], **place: str | int) -> Piece:
    """Measure a piece and set where its numbers stand; if a user could put right what hinders it, a note says so.

    >>> attempted("bert on rte", lambda: load_task("rte").notes).result.notes
    ["not measured: unknown task 'rte'...
    """
    try:
        return Piece(about, placed(measure(), **place))
    except UserError as error:
        say(f"{about} is not measured: {error}")
        return Piece(about, Result(numbers=[], notes=[f"not measured: {error}"]))


def placed(result: Result, **place: str | int) -> Result:
    """Give the same result, its numbers standing there, whatever they said of that before."""
    return replace(result, numbers=[replace(each, where={**each.where, **place}) for each in result.numbers])


def notes_of(pieces: Sequence[Piece]) -> list[str]:
    """Give every note once, with what it is about unless that is most of the study.

    >>> few, all = Result(numbers=[], notes=["Few.", "All."]), Result(numbers=[], notes=["All."])
    >>> notes_of([Piece("bert", few), Piece("gpt2", all), Piece("albert", all)])
    ['bert: Few.', 'All.']
    """
    about: dict[str, list[str]] = {}
    for piece in pieces:
        for note in piece.result.notes:
            about.setdefault(note, []).append(piece.about)
    return [note if 2 * len(names) > len(pieces) else f"{', '.join(names)}: {note}" for note, names in about.items()]


def say_cost(cost: Cost, bench: Bench, precision: str) -> None:
    """Tell beforehand what is to come, at the speeds that the bench's device trains and measures with."""
    trained_in = getattr(torch, precision)
    say(in_words(cost, cost.seconds(speed(bench.device, trained_in), speed(bench.device, torch.float32))))
