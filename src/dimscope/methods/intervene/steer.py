"""How much of a direction it takes to turn a classifier's answers: the dose–response curve of steering along it.

A multiple of a unit vector is added to the states at a site: of the difference between the mean states of one class and
of all others (Marks & Tegmark 2023, 2310.06824, section 5; Turner et al. 2023, 2308.10248, add such differences), or of
the dimension ρ that varies most (Rudman, Chen & Eickhoff 2023, 2310.17715). Doses are in standard deviations of the
training states along the direction, so that they are comparable between directions. The control is random directions,
each in its own standard deviations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from dimscope.activations.edits import Add, Edit, edit
from dimscope.activations.heads import classify_states
from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Array, Number, Result
from dimscope.numerics.directions import random_directions
from dimscope.numerics.outliers import principal_dim
from dimscope.scoring.classification import accuracy

States = Float[np.ndarray, "sentences dims"]
Direction = Float[np.ndarray, " dims"]
Steered = Callable[[Direction], Float[np.ndarray, "sentences classes"]]
"""Gives the logits of the held-out sentences with a step added to their states."""


class Steer(Method):
    """The share of sentences that go to a class as a direction is added to the states, beside random directions."""

    sources = (
        "differences of means: Marks & Tegmark 2023 (2310.06824), section 5; Turner et al. 2023 (2308.10248)",
        "the dimension that varies most: Rudman, Chen & Eickhoff 2023 (2310.17715)",
    )

    direction: Literal["means", "principal"] = "means"
    """Difference of the class's mean state and that of all others, or the dimension that varies most."""
    toward: int = Field(1, ge=0)
    """The class whose share is told, and towards which the difference of means points."""
    site: str = "final"
    """Where the direction is taken from and added, one of the states between blocks."""
    tokens: Literal["all", "pooled"] = "all"
    """Tokens to which it is added: all, or the one that the classifier reads, of which alone `final` consists."""
    doses: tuple[float, ...] = (-4, -2, -1, 0, 1, 2, 4)
    """How much is added, in standard deviations of the training states along the direction."""
    num_random: int = Field(3, ge=1)
    """Random directions, the control; each is a forward pass for every dose."""

    def run(self, bench: Bench) -> Result:
        """Steer the held-out sentences by every dose.

        Raises:
            UserError: the bench has no checkpoint, there is no such class, or the training data lack it.
        """
        if bench.checkpoint is None:
            raise UserError(
                "steering asks what turns a fine-tuned classifier, and this bench has no checkpoint: give one"
            )
        if self.toward >= len(bench.label_names):
            raise UserError(f"the classes are 0 to {len(bench.label_names) - 1}, and {self.toward} was asked for")
        states = bench.states("train", self.site)
        chosen = self._chosen(states, bench.labels("train"))
        randoms = random_directions(self.num_random, len(chosen), seeds.stream(bench.seed, "random directions"))
        names = [self.direction, *(f"random {number}" for number in range(1, self.num_random + 1))]
        with work("doses", len(names) * len(self.doses)) as done:
            predicted = np.stack([self._response(bench, states, each, done) for each in (chosen, *randoms)])
        before = bench.logits("validation").argmax(axis=1)
        curves = (predicted == self.toward).mean(axis=2)
        ticks = {"direction": names, "dose": [f"{dose:g}" for dose in self.doses]}
        return Result(
            numbers=[
                *self._told(predicted[0], before),
                *self._controls("toward_fraction", curves[1:]),
                *self._controls("turned_fraction", (predicted[1:] != before).mean(axis=2)),
            ],
            arrays={
                "toward_fraction": Array(curves, ("direction", "dose"), ticks=ticks),
                "vector": Array(chosen, ("dim",)),
            },
        )

    def _response(
        self, bench: Bench, states: States, direction: Direction, done: Callable[[int], None]
    ) -> Int[np.ndarray, "doses sentences"]:
        """Give the classes that the held-out sentences get under every dose of one direction."""
        step = np.std(states.astype(np.float64) @ direction) * direction
        steered = self._at_end(bench) if self.site == "final" else self._inside(bench)
        rows = []
        for dose in self.doses:
            rows.append(steered((dose * step).astype(np.float32)).argmax(axis=1))
            done(1)
        return np.stack(rows)

    def _at_end(self, bench: Bench) -> Steered:
        """Only the head is computed again: it reads one token of the final states, whatever is added to the others."""
        states = bench.states("validation")
        return lambda step: classify_states(bench.network, states + step)

    def _inside(self, bench: Bench) -> Steered:
        def steered(step: Direction) -> Float[np.ndarray, "sentences classes"]:
            with edit(bench.network, [Edit(self.site, Add(step), tokens=self.tokens)]):
                return bench.logits_of(bench.network, "validation")

        return steered

    def _chosen(self, states: States, labels: Int[np.ndarray, " sentences"]) -> Direction:
        if self.direction == "principal":
            return np.eye(states.shape[1])[principal_dim(states.var(axis=0, dtype=np.float64))]
        is_class = labels == self.toward
        if is_class.all() or not is_class.any():
            raise UserError(f"the training sentences are all, or none, of class {self.toward}: there are no two means")
        return mean_difference(states, is_class)

    def _told(
        self, predicted: Int[np.ndarray, "doses sentences"], before: Int[np.ndarray, " sentences"]
    ) -> Iterator[Number]:
        for dose, classes in zip(self.doses, predicted, strict=True):
            where = {"direction": self.direction, "dose": dose}
            yield accuracy(classes == self.toward, "toward_fraction", **where)
            yield accuracy(classes != before, "turned_fraction", **where)

    def _controls(self, name: str, curves: Float[np.ndarray, "directions doses"]) -> Iterator[Number]:
        """Tell the mean over the random directions, with the least and the greatest."""
        for dose, shares in zip(self.doses, curves.T, strict=True):
            yield Number(
                name=name,
                value=float(shares.mean()),
                interval=(float(shares.min()), float(shares.max())),
                where={"direction": "random", "dose": dose},
            )


def mean_difference(states: States, is_class: np.ndarray) -> Direction:
    """Give the unit vector from the mean of the other states to that of the class.

    >>> mean_difference(np.array([[0.0, 1.0], [0.0, 5.0]]), np.array([False, True])).tolist()
    [0.0, 1.0]

    Raises:
        UserError: the two means are the same.
    """
    difference = states[is_class].mean(axis=0, dtype=np.float64) - states[~is_class].mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(difference)
    if not length > 0:
        raise UserError("the mean states of the class and of all others are the same: there is no direction between")
    return difference / length
