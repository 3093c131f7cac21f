"""What studies are tried on, and how one is reproduced while it is listened to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from dimscope.core import progress
from dimscope.core.errors import UserError
from dimscope.core.recipe import Recipe
from dimscope.core.result import Result
from dimscope.data.task import Task
from dimscope.study import Study


class Heard:
    """Counts the steps of the study, and keeps what is said."""

    def __init__(self) -> None:
        self.total, self.steps, self.messages = 0, 0, []

    def begin(self, what: str, total: int) -> Callable[[int], None]:
        if what != "the whole study":
            return lambda steps: None
        self.total = total
        return self._count

    def _count(self, steps: int) -> None:
        self.steps += steps

    def end(self, what: str) -> None:
        pass

    def say(self, message: str) -> None:
        self.messages.append(message)


@pytest.fixture(scope="session")
def reproduced() -> Callable[[Recipe, Path], None]:
    """Reproduce a study that tells beforehand what it costs, and then takes as many steps as it says."""

    def reproduce(recipe: Recipe, out: Path) -> None:
        heard = Heard()
        with progress.listening(heard):
            recipe.reproduce(out)
        assert heard.steps == heard.total
        assert heard.messages[0].startswith("Ahead: ")

    return reproduce


def _with_one_changed(study: Study, out: Path) -> Study:
    """Keep it again, the last number, which is of a small model, being another."""
    pooled = study.kept(out)
    changed, last = study.model_copy(update={"device": "cpu"}), pooled.numbers[-1]
    changed.keep(out, replace(pooled, numbers=[*pooled.numbers[:-1], replace(last, value=last.value + 1)]), 1.0)
    return changed


@pytest.fixture
def assert_joins(tmp_path: Path) -> Callable[[Study, Path, Result], None]:
    """Join a study with one that found the same of another model: both are judged alike, and small models stand once."""

    def join(recipe: Study, out: Path, pooled: Result) -> None:
        model, another = pooled.numbers[0].where["model"], tmp_path / "another"
        own = [each for each in pooled.numbers if each.where["model"] == model]
        renamed = [replace(each, where={**each.where, "model": "another"}) for each in own]
        others = [each for each in pooled.numbers if each.where["model"] != model]
        arrays = {name.replace(str(model), "another"): each for name, each in pooled.arrays.items()}
        of_another = recipe.model_copy(update={"models": ("another",)})
        of_another.keep(another, replace(pooled, numbers=[*renamed, *others], arrays=arrays), 1.0)
        both = tmp_path / "both"
        type(recipe).join({out: recipe, another: of_another}, both)
        summary = json.loads((both / "summary.json").read_text())
        assert others
        assert len(summary["numbers"]) == len(pooled.numbers) + len(own)
        verdicts = pd.read_csv(both / "tables" / "verdicts.csv").set_index("model")
        assert verdicts.loc["another"].equals(verdicts.loc[model])
        with pytest.raises(UserError, match="tell different numbers"):
            type(recipe).join({out: recipe, another: _with_one_changed(of_another, another)}, both)

    return join


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory, reviews: Task) -> Path:
    """A task's sentences as a user's own file."""
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    texts, labels = reviews.train.texts + reviews.validation.texts, [*reviews.train.labels, *reviews.validation.labels]
    pd.DataFrame({"text": texts, "label": labels}).to_csv(path, index=False)
    return path
