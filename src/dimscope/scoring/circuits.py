"""Circuits as stages of heads, found backwards from the logits, and how many of their heads two circuits share.

A stage holds every head's share of the answer's change along paths that end in the heads of the stage before (Wang et
al. 2022, 2211.00593, section 3). Merullo, Eickhoff & Pavlick 2024 (2310.08744) compare two tasks by the top 2 % of the
heads of each stage. They do not say among which heads; we take those from which a path can lead in both tasks, and hold
the number that is shared against sets drawn from all of these, and against sets drawn from each layer apart: that
heads close below their receivers matter in any task is then no finding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from jaxtyping import Float

from dimscope.core.result import Number, Result
from dimscope.numerics.overlap import Group, Overlap, group, overlap, top, within
from dimscope.numerics.resampling import bootstrap_interval, spearman, spearman_permutation

ALL_STAGES = "all"
_NUM_RESAMPLES = 2000


@dataclass(frozen=True, order=True)
class Head:
    """An attention head."""

    layer: int
    head: int

    @property
    def name(self) -> str:
        """The head's name, '17.4'."""
        return f"{self.layer}.{self.head}"


@dataclass(frozen=True, eq=False)
class Stage:
    """The shares of all heads [layer, head]; paths lead from layers below `reach` alone."""

    shares: Float[np.ndarray, "layers heads"]
    reach: int

    def strongest(self, num_heads: int) -> dict[Head, float]:
        """Give the heads with the largest shares, either sign, and these; one whose share is 0 never.

        >>> Stage(np.array([[0.1, -0.5], [0.0, 0.0]]), reach=1).strongest(3)
        {Head(layer=0, head=1): -0.5, Head(layer=0, head=0): 0.1}
        """
        flat = self.shares.ravel()
        order = np.argsort(-np.abs(flat), kind="stable")[:num_heads]
        places = ((int(place), *divmod(int(place), self.shares.shape[1])) for place in order if flat[place])
        return {Head(layer, head): float(flat[place]) for place, layer, head in places}


@dataclass(frozen=True)
class Roles:
    """What heads of a circuit are called: those that write the answer, those that tell them where not to look, and the
    one that writes most against the answer."""

    movers: list[Head]
    inhibiting: list[Head]
    negative: list[Head]

    @classmethod
    def of(cls, stages: Sequence[Stage], num_kept: int, num_inhibiting: int) -> Roles:
        """Read roles off the signs of the first two stages' strongest shares."""
        first, second = ([*(stage.strongest(num_kept) for stage in stages[:2]), {}, {}])[:2]
        return cls(
            movers=[head for head, share in first.items() if share > 0],
            inhibiting=[head for head, share in second.items() if share > 0][:num_inhibiting],
            negative=[head for head, share in first.items() if share < 0][:1],
        )

    @property
    def all_forced(self) -> list[Head]:
        """The inhibition heads and the negative mover head, which may be one of them."""
        return list(dict.fromkeys([*self.inhibiting, *self.negative]))


def stages_of(circuit: Result) -> list[Stage]:
    """Give the stages of a circuit from its arrays and the numbers named 'reach', in their order."""
    reaches = [int(each.value) for each in circuit.numbers if each.name == "reach"]
    return [Stage(array.values, reach) for array, reach in zip(circuit.arrays.values(), reaches, strict=True)]


def overlaps(circuits: Mapping[str, Sequence[Stage]], known: str, percents: Sequence[int]) -> list[Number]:
    """Hold the circuit of every other task against that of the known one."""
    return [
        replace(each, where={**each.where, "task": task})
        for task, stages in circuits.items()
        if task != known
        for each in overlap_of_two(circuits[known], stages, percents)
    ]


def overlap_of_two(first: Sequence[Stage], second: Sequence[Stage], percents: Sequence[int]) -> list[Number]:
    """Tell how many of the top heads two circuits share: in each stage, and in all together.

    Stages that only one circuit has, or that no path can lead to in one of them, are left out.
    """
    pairs = [(a, b, min(a.reach, b.reach)) for a, b in zip(first, second, strict=False)]
    numbers: list[Number] = []
    for percent in percents:
        plain: dict[str, list[Group]] = {}
        strict: dict[str, list[Group]] = {}
        for number, (a, b, reach) in enumerate(pairs, start=1):
            if reach > 0:
                stage = str(number)
                plain[stage], strict[stage] = _compared(a.shares[:reach], b.shares[:reach], percent / 100)
        if plain:
            plain[ALL_STAGES], strict[ALL_STAGES] = (list(chain(*each.values())) for each in (plain, strict))
        for stage, groups in plain.items():
            where: dict[str, str | int] = {"stage": stage, "percent": percent}
            numbers += _told(overlap(groups), overlap(strict[stage]), where)
    return numbers


def correlation(
    stages: Sequence[Stage], effect: Float[np.ndarray, "layers heads"], rng: np.random.Generator
) -> list[Number]:
    """Tell how far a head's effect goes with what it carries: Spearman's, of sizes, over heads that a path leads from.

    What a head carries is its largest share in any of the stages. The interval is the bootstrap's over heads, the
    p-value that of a permutation; heads are few and not independent, so both are rough.
    """
    if not stages:
        return []
    reach = max(stage.reach for stage in stages)
    carried = np.max([np.abs(stage.shares[:reach]) for stage in stages], axis=0)
    both = np.stack([carried.ravel(), np.abs(effect[:reach]).ravel()], axis=1)
    value, p_value = spearman_permutation(both[:, 0], both[:, 1], rng, _NUM_RESAMPLES)
    if np.isnan(value):
        return []
    low, high = bootstrap_interval(both, _correlation, rng, _NUM_RESAMPLES)
    return [
        Number(name="rank_correlation", value=value, interval=(low, high)),
        Number(name="rank_correlation_p_value", value=p_value),
        Number(name="num_correlated_heads", value=len(both)),
    ]


def _correlation(rows: Float[np.ndarray, "heads two"]) -> float:
    """Give the correlation of a resample; none where all heads drawn are alike."""
    return float(np.nan_to_num(spearman(rows[:, 0], rows[:, 1])))


def _compared(
    first: Float[np.ndarray, "layers heads"], second: Float[np.ndarray, "layers heads"], fraction: float
) -> tuple[list[Group], list[Group]]:
    """Count the tops of one stage: among all heads, and layer by layer."""
    a, b = (top(each.ravel(), fraction) for each in (first, second))
    layers = np.repeat(np.arange(len(first)), first.shape[1])
    return [group(a, b, first.size)], within(a, b, layers)


def _told(found: Overlap, strict: Overlap, where: dict[str, str | int]) -> list[Number]:
    low, high = (float(each) for each in found.chance_interval)
    values = {
        "num_top_heads": found.num_first,
        "num_shared_heads": found.num_shared,
        "shared_by_chance": found.by_chance,
        "shared_p_value": found.p_value,
        "shared_by_chance_within_layers": strict.by_chance,
        "shared_p_value_within_layers": strict.p_value,
        "shared_fraction": found.num_shared / found.num_first,
        "jaccard_score": found.jaccard,
        "jaccard_by_chance": found.jaccard_by_chance,
    }
    intervals = {"shared_by_chance": (low, high)}
    return [Number(name=name, value=value, interval=intervals.get(name), where=where) for name, value in values.items()]
