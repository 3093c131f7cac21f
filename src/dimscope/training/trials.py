"""How good a classifier becomes at best: several learning rates with one seed, the best of them with further seeds.

All learning rates with all seeds would cost as many times more, and the first seed tells the rates apart well enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from dimscope.core.bench import Bench
from dimscope.core.result import Result
from dimscope.training.trial import Trial, outcome


class SpentError(Exception):
    """The budget is spent."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Accuracies by learning rate and seed; NaN where it was not trained."""

    accuracies: Float[np.ndarray, "learning_rates seeds"]

    @property
    def best(self) -> int:
        """Which learning rate is the first seed's best."""
        return int(np.argmax(self.accuracies[:, 0]))

    @property
    def score(self) -> float:
        """The mean over seeds with that learning rate.

        >>> round(Scored(np.array([[0.5, np.nan], [0.6, 0.8]])).score, 3)
        0.7
        """
        return float(self.accuracies[self.best].mean())


@dataclass(eq=False)
class Trials:
    """The trainings of a search in their order, done or found, and what is left of the budget.

    Args:
        name: the search's name, under which they are kept.
        bench: what is trained; its seed is the first, and those after it follow.
        num_seeds: trainings with the best learning rate.
        done: called with 1 after each.
        max_trainings: none begins after so many.
        max_minutes: none begins after so many minutes of training, those of a search that was killed included.
    """

    name: str
    bench: Bench
    num_seeds: int
    done: Callable[[int], None]
    max_trainings: int | None = None
    max_minutes: float | None = None
    results: list[Result] = field(default_factory=list)

    def scored(self, by_rate: Sequence[Trial]) -> Scored:
        """Train with every learning rate, and with the best under the other seeds.

        Raises:
            SpentError: the budget does not reach so far.
        """
        accuracies = np.full((len(by_rate), self.num_seeds), np.nan)
        for rate, trial in enumerate(by_rate):
            accuracies[rate, 0] = self._accuracy(trial, self.bench.seed)
        best = int(np.argmax(accuracies[:, 0]))
        for further in range(1, self.num_seeds):
            accuracies[best, further] = self._accuracy(by_rate[best], self.bench.seed + further)
        return Scored(accuracies)

    def count(self, name: str) -> int:
        """Count the trainings of which that is true: `is_stopped`, `is_diverged`."""
        return sum(bool(result.value(name)) for result in self.results)

    def _accuracy(self, trial: Trial, seed: int) -> float:
        if self._is_spent():
            raise SpentError
        self.results.append(outcome(self.name, trial, self.bench, seed))
        self.done(1)
        return self.results[-1].value("accuracy")

    def _is_spent(self) -> bool:
        minutes = sum(result.provenance["seconds"] for result in self.results) / 60
        too_many = self.max_trainings is not None and len(self.results) >= self.max_trainings
        return too_many or (self.max_minutes is not None and minutes >= self.max_minutes)
