"""How much of a direction it takes to turn a model's answers: the dose–response curve of steering along it.

A multiple of a unit vector is added to the states at a site. In a classifier it is the difference between the mean
states of one class and of all others (Marks & Tegmark 2023, 2310.06824, section 5; Turner et al. 2023, 2308.10248, add
such differences), or the dimension ρ that varies most (Rudman, Chen & Eickhoff 2023, 2310.17715); in a language model
the difference between the mean states of prompts and of their counterfactuals at the last token, taken from one half of
the pairs and added in the other. Doses are in standard deviations of the states that the direction is taken from, along
it. The control is random directions: in a classifier each in its own standard deviations, so that doses are comparable;
in a language model each as long as the direction itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal, Self

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from dimscope.activations.edits import Add, Edit, edit
from dimscope.activations.heads import classify_states
from dimscope.activations.places import Tokens
from dimscope.activations.prompt_states import prompt_states
from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Array, Number, Result
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.load import Network
from dimscope.numerics.directions import random_directions
from dimscope.numerics.outliers import principal_dim
from dimscope.numerics.resampling import mean_interval
from dimscope.scoring.classification import accuracy
from dimscope.scoring.known import Answered, answer

States = Float[np.ndarray, "sentences dims"]
Direction = Float[np.ndarray, " dims"]
Told = Mapping[str, np.ndarray]
"""What is told of every held-out sentence or prompt [items], by name; at every dose of every direction with two axes
more [directions, doses, items]. Truths become shares, numbers means."""

Classified = Callable[[Direction], Float[np.ndarray, "sentences classes"]]
"""Gives the logits of the held-out sentences with a step added to their states."""

_FEWEST_PAIRS = 4
_UNITS = {"mean_logit_difference": "logits"}
_NO_COMMON_DIRECTION = (
    "In the held-out pairs the direction does not tell counterfactuals from prompts: what differs is something else in "
    "every pair, and what the direction does to the answers is chance."
)


class Steer(Method):
    """The share of answers that turn as a direction is added to the states, dose by dose, beside random directions."""

    sources = (
        "differences of means: Marks & Tegmark 2023 (2310.06824), section 5; Turner et al. 2023 (2308.10248)",
        "the dimension that varies most: Rudman, Chen & Eickhoff 2023 (2310.17715)",
    )

    direction: Literal["means", "principal"] = "means"
    """Difference of the mean states of two groups, or, in a classifier, the dimension that varies most."""
    toward: int = Field(1, ge=0)
    """The class whose share is told, and towards which the difference of means points; for classifiers only."""
    site: str = "final"
    """Where the direction is taken from and added, one of the states between blocks."""
    tokens: Literal["auto", "all", "pooled"] = "auto"
    """Tokens to which it is added: all, or the one that is read; auto: all of a sentence, the last of a prompt."""
    doses: tuple[float, ...] = (-4, -2, -1, 0, 1, 2, 4)
    """How much is added, in standard deviations along the direction."""
    num_random: int = Field(3, ge=1)
    """Random directions, the control; each is a forward pass for every dose."""

    def resolved(self, bench: Bench) -> Self:
        """Settle which tokens 'auto' stands for."""
        if self.tokens != "auto":
            return self
        return self.model_copy(update={"tokens": "pooled" if bench.is_language_model else "all"})

    def run(self, bench: Bench) -> Result:
        """Steer held-out sentences or prompts by every dose.

        Raises:
            UnknownName: the model has no such site.
            UserError: a classifier's bench has no checkpoint, there is no such class, or the training data lack it; for
                prompts a setting of classifiers or the site 'logits' was given, there are too few, or the means of the
                two groups are the same.
        """
        definite = self.resolved(bench)
        return definite._of_prompts(bench) if bench.is_language_model else definite._of_sentences(bench)

    def _of_sentences(self, bench: Bench) -> Result:
        if bench.checkpoint is None:
            raise UserError(
                "steering asks what turns a fine-tuned classifier, and this bench has no checkpoint: give one"
            )
        if self.toward >= len(bench.label_names):
            raise UserError(f"the classes are 0 to {len(bench.label_names) - 1}, and {self.toward} was asked for")
        states = bench.states("train", self.site)
        chosen = self._chosen(states, bench.labels("train"))
        directions = self._with_random(chosen, bench.seed)
        before = bench.logits("validation").argmax(axis=1)
        classified = self._at_end(bench) if self.site == "final" else self._inside(bench)

        def told(step: Direction) -> Told:
            classes = classified(step).argmax(axis=1)
            return {"toward_fraction": classes == self.toward, "turned_fraction": classes != before}

        lengths = np.array([[deviation(states, each)] for each in directions])
        curves = self._curves(lengths * directions, told)
        return Result(numbers=list(self._numbers(curves)), arrays=self._arrays(curves, chosen))

    def _of_prompts(self, bench: Bench) -> Result:
        network, pairs = bench.network, bench.pairs
        self._require_fitting(pairs)
        first, held_out = (pairs.at(half) for half in np.array_split(np.arange(len(pairs)), 2))
        prompts, counterfactuals = self._at_ends(network, first)
        states = np.concatenate([prompts, counterfactuals])
        chosen = mean_difference(states, np.arange(len(states)) >= len(prompts))
        length = deviation(states, chosen)
        before = answer(network, held_out)

        def told(step: Direction) -> Told:
            with self._steered(network, step):
                return _told_of_prompts(answer(network, held_out), before)

        curves = self._curves(length * self._with_random(chosen, bench.seed), told)
        distance = self._distance(network, held_out, chosen / length)
        return Result(
            numbers=[distance, *self._numbers(curves)],
            arrays=self._arrays(curves, chosen),
            notes=[*pairs.notes, *_no_common_direction(distance)],
        )

    def _require_fitting(self, pairs: PromptPairs) -> None:
        if self.direction != "means" or self.toward != 1:
            raise UserError(
                "the dimension that varies most, and a class to steer toward, are a classifier's: prompts are steered "
                "along the difference of means, toward the counterfactual's answer; leave direction and toward out"
            )
        if self.site == "logits":
            raise UserError("the logits are what is told, not what is steered: give another site, such as 'final'")
        if len(pairs) < _FEWEST_PAIRS:
            raise UserError(f"wanted at least {_FEWEST_PAIRS} pairs of prompts, two for each half, got {len(pairs)}")

    def _at_ends(self, network: Network, pairs: PromptPairs) -> list[States]:
        """Give what prompts, and what counterfactuals, have at the site for their last token."""
        return [prompt_states(network, each, [self.site])[self.site][:, 0] for each in (pairs, pairs.swapped())]

    def _distance(self, network: Network, pairs: PromptPairs, per_deviation: Direction) -> Number:
        """Tell how far counterfactuals lie from their prompts along the direction."""
        prompts, counterfactuals = self._at_ends(network, pairs)
        apart = (counterfactuals.astype(np.float64) - prompts) @ per_deviation
        return replace(_over_items("held_out_distance", apart), unit="standard deviations")

    def _steered(self, network: Network, step: Direction) -> AbstractContextManager[None]:
        return steered(network, step, self.site, "all" if self.tokens == "all" else "pooled")

    def _at_end(self, bench: Bench) -> Classified:
        """Only the head is computed again: it reads one token of the final states, whatever is added to the others."""
        states = bench.states("validation")
        return lambda step: classify_states(bench.network, states + step)

    def _inside(self, bench: Bench) -> Classified:
        def classified(step: Direction) -> Float[np.ndarray, "sentences classes"]:
            with self._steered(bench.network, step):
                return bench.logits_of(bench.network, "validation")

        return classified

    def _chosen(self, states: States, labels: Int[np.ndarray, " sentences"]) -> Direction:
        if self.direction == "principal":
            return np.eye(states.shape[1])[principal_dim(states.var(axis=0, dtype=np.float64))]
        is_class = labels == self.toward
        if is_class.all() or not is_class.any():
            raise UserError(f"the training sentences are all, or none, of class {self.toward}: there are no two means")
        return mean_difference(states, is_class)

    def _with_random(self, chosen: Direction, seed: int) -> Float[np.ndarray, "directions dims"]:
        rng = seeds.stream(seed, "random directions")
        return np.vstack([chosen, random_directions(self.num_random, len(chosen), rng)])

    def _curves(self, steps: Float[np.ndarray, "directions dims"], told: Callable[[Direction], Told]) -> Told:
        """Tell it of every dose of every step, which is a dose of 1."""
        found = []
        with work("doses", len(steps) * len(self.doses)) as done:
            for step in steps:
                for dose in self.doses:
                    found.append(told((dose * step).astype(np.float32)))
                    done(1)
        shape = len(steps), len(self.doses), -1
        return {name: np.reshape([each[name] for each in found], shape) for name in found[0]}

    def _numbers(self, curves: Told) -> Iterator[Number]:
        """Tell the chosen direction with intervals over items, and random ones by mean, least and greatest."""
        for name, (chosen, *random) in curves.items():
            means = np.mean(random, axis=2)
            for number, dose in enumerate(self.doses):
                yield replace(_over_items(name, chosen[number]), where={"direction": self.direction, "dose": dose})
                of_random = means[:, number]
                yield Number(
                    name=name,
                    value=float(of_random.mean()),
                    unit=_UNITS.get(name, ""),
                    interval=(float(of_random.min()), float(of_random.max())),
                    where={"direction": "random", "dose": dose},
                )

    def _arrays(self, curves: Told, chosen: Direction) -> dict[str, Array]:
        names = [self.direction, *(f"random {number}" for number in range(1, self.num_random + 1))]
        ticks = {"direction": names, "dose": [f"{dose:g}" for dose in self.doses]}
        drawn = {
            name: Array(values.mean(axis=2), ("direction", "dose"), _UNITS.get(name, ""), ticks)
            for name, values in curves.items()
            if name != "turned_fraction"
        }
        return {**drawn, "vector": Array(chosen, ("dim",))}


def steered(
    network: Network, step: Direction, site: str = "final", tokens: Tokens = "all"
) -> AbstractContextManager[None]:
    """Within the block, a vector is added to the states at a site: of all tokens, or of the one that is read, 'pooled'.

    >>> from dimscope.models.classify import classify
    >>> from dimscope.models.load import load_language_model
    >>> network = load_language_model("tiny/llama")
    >>> batch = network.tokenizer(["so very sad"], return_tensors="pt")
    >>> before = classify(network, batch)
    >>> with steered(network, np.ones(32), tokens="pooled"):
    ...     moved = classify(network, batch) - before
    >>> bool(moved.allclose(network.head.weight.sum(dim=1), atol=1e-4))
    True

    Raises:
        UnknownName: the model has no such site.
    """
    return edit(network, [Edit(site, Add(step), tokens=tokens)])


def deviation(states: States, direction: Direction) -> float:
    """Give the standard deviation of states along a unit vector, the length of a dose of 1.

    >>> deviation(np.array([[3.0, 1.0], [3.0, 5.0]]), np.array([0.0, 1.0]))
    2.0
    """
    return float(np.std(states.astype(np.float64) @ direction))


def mean_difference(states: States, is_chosen: Bool[np.ndarray, " sentences"]) -> Direction:
    """Give the unit vector from the mean of the other states to that of the chosen ones.

    >>> mean_difference(np.array([[0.0, 1.0], [0.0, 5.0]]), np.array([False, True])).tolist()
    [0.0, 1.0]

    Raises:
        UserError: the two means are the same.
    """
    difference = states[is_chosen].mean(axis=0, dtype=np.float64) - states[~is_chosen].mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(difference)
    if not length > 0:
        raise UserError("the mean states of the two groups are the same: there is no direction between them")
    return difference / length


def _told_of_prompts(answered: Answered, before: Answered) -> Told:
    is_other, was_other = answered.logit_difference < 0, before.logit_difference < 0
    return {
        "mean_logit_difference": answered.logit_difference.astype(np.float64),
        "toward_fraction": is_other,
        "turned_fraction": is_other != was_other,
        "accuracy": answered.among_outputs,
    }


def _no_common_direction(distance: Number) -> list[str]:
    return [] if distance.interval and distance.interval[0] > 0 else [_NO_COMMON_DIRECTION]


def _over_items(name: str, values: np.ndarray) -> Number:
    if values.dtype == bool:
        return accuracy(values, name)
    return Number(name=name, value=float(values.mean()), unit=_UNITS.get(name, ""), interval=mean_interval(values))
