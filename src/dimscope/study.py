"""What recipes share that ask models × tasks: their benches, and the one pooled result that the page is made from.

A study may have many pieces, of which some cannot be measured on some models: then a note says why, and all others are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.progress import say
from dimscope.core.provenance import RESULT_VERSION, digest, provenance
from dimscope.core.recipe import Recipe
from dimscope.core.result import Result
from dimscope.data.catalogue import load_task
from dimscope.data.options import TaskOptions
from dimscope.scoring.cost import Cost, in_words, speed
from dimscope.store.layout import Store


class Study(TaskOptions, Recipe):
    """A recipe on any models and tasks; its pooled result is kept under its settings."""

    models: tuple[str, ...] = Field(("minilm",), min_length=1)
    """Aliases (see `dimscope list models`), hub ids, or local folders."""
    tasks: tuple[str, ...] = Field(("movie_reviews",), min_length=1)
    """Aliases (see `dimscope list tasks`), glue/<name>, or files."""
    device: str = "auto"
    """cpu, cuda, or auto: the GPU if there is one."""

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
        shared: dict[str, Any] = {"device": self.device, "out": out, "max_length": self.max_length}
        return [Bench(model, loaded, seed=seed, **shared) for seed in seeds]

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
