"""What studies are tried on, and how one is reproduced while it is listened to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from dimscope.core import progress
from dimscope.core.recipe import Recipe
from dimscope.data.task import Task


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


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory, reviews: Task) -> Path:
    """A task's sentences as a user's own file."""
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    texts, labels = reviews.train.texts + reviews.validation.texts, [*reviews.train.labels, *reviews.validation.labels]
    pd.DataFrame({"text": texts, "label": labels}).to_csv(path, index=False)
    return path
