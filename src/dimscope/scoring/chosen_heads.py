"""What becomes of the answers when something is done to chosen heads, beside the same done to random other ones.

Merullo, Eickhoff & Pavlick 2024 (2310.08744) tell the accuracy by arg-max over the vocabulary, before and after. We
tell it among the options too, what was right and is wrong now, and the same for random other heads of the same layers:
that heads are touched at all may matter, whichever they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from dimscope.core.errors import UserError
from dimscope.core.result import Array, Number
from dimscope.models.load import Network
from dimscope.numerics.resampling import mean_interval
from dimscope.scoring.classification import accuracy
from dimscope.scoring.known import Among, Answered

NOTHING, CHOSEN, RANDOM = "nothing", "chosen heads", "random heads"
_AMONG: tuple[Among, ...] = ("outputs", "options")
_HEAD = re.compile(r"\d+\.\d+")


def require_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Give the names if they are those of different heads.

    >>> require_names(("17.4", "20.1"))
    ('17.4', '20.1')

    Raises:
        ValueError: they are not.
    """
    if len(set(names)) < len(names) or not all(map(_HEAD.fullmatch, names)):
        raise ValueError(f"wanted different heads such as '17.4', got {names}")
    return names


def heads_named(names: Sequence[str], network: Network) -> list[tuple[int, int]]:
    """Read layer and head from names such as 17.4.

    Raises:
        UserError: the model has no such head.
    """
    heads = []
    for name in names:
        layer, head = map(int, name.split("."))
        if layer >= network.num_layers or head >= network.num_heads:
            raise UserError(
                f"no head {name!r}: layers are 0 to {network.num_layers - 1}, heads 0 to {network.num_heads - 1}"
            )
        heads.append((layer, head))
    return heads


def others(heads: Sequence[tuple[int, int]], num_heads: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw as many other heads of the same layers; all others where a layer has too few.

    >>> others([(1, 0), (3, 1)], num_heads=2, rng=np.random.default_rng(0))
    [(1, 1), (3, 0)]
    """
    drawn = []
    for layer in dict.fromkeys(layer for layer, _ in heads):
        own = [head for of, head in heads if of == layer]
        rest = np.setdiff1d(np.arange(num_heads), own)
        drawn += [(layer, int(head)) for head in rng.choice(rest, size=min(len(own), len(rest)), replace=False)]
    return drawn


def too_few(heads: Sequence[tuple[int, int]], num_heads: int) -> list[str]:
    """Give a note on layers that have fewer other heads than were chosen, if there are any."""
    counts = {layer: sum(of == layer for of, _ in heads) for layer, _ in heads}
    full = [str(layer) for layer, count in counts.items() if 2 * count > num_heads]
    if not full:
        return []
    return [f"Of layers {', '.join(full)} more than half of the heads were chosen: the control takes fewer there."]


def compared(done: str, before: Answered, after: Answered, random: Sequence[Answered]) -> list[Number]:
    """Tell accuracies, logit differences and their changes; `done` is what was done: forced, blocked."""
    return [
        *_told(before, {done: NOTHING}),
        *_told(after, {done: CHOSEN}),
        *_changes(before, after, {done: CHOSEN}),
        *_controls(before, random, {done: RANDOM}),
    ]


def right(done: str, before: Answered, after: Answered, random: Sequence[Answered]) -> Array:
    """Give which prompts are right with nothing done, with it done to the chosen heads, and to each draw."""
    names = [NOTHING, CHOSEN, *(f"{RANDOM} {number}" for number in range(1, len(random) + 1))]
    rows = [[each.is_right(among) for among in _AMONG] for each in (before, after, *random)]
    return Array(np.array(rows).astype(np.int64), (done, "among", "pair"), ticks={done: names, "among": _AMONG})


def mean(name: str, values: Float[np.ndarray, " pairs"], **where: str | int) -> Number:
    """Give the mean over prompts with Student's interval."""
    return Number(name=name, value=float(values.mean()), interval=mean_interval(values), where=where)


def _told(answered: Answered, where: dict[str, str]) -> list[Number]:
    difference = answered.logit_difference.astype(np.float64)
    return [
        *(accuracy(answered.is_right(among), **where, among=among) for among in _AMONG),
        replace(mean("mean_logit_difference", difference, **where), unit="logits", better="higher"),
    ]


def _changes(before: Answered, after: Answered, where: dict[str, str]) -> list[Number]:
    """Give the change of the accuracy, with the interval of paired answers, and what it is made of."""
    numbers = []
    for among in _AMONG:
        was, is_now = before.is_right(among), after.is_right(among)
        at = {**where, "among": among}
        change = mean("accuracy_change", is_now.astype(np.float64) - was, **at)
        numbers += [replace(change, better="higher"), accuracy(is_now & ~was, "newly_right_fraction", **at)]
        numbers.append(replace(accuracy(was & ~is_now, "newly_wrong_fraction", **at), better="lower"))
    return numbers


def _controls(before: Answered, draws: Sequence[Answered], where: dict[str, str]) -> list[Number]:
    """Give means over draws, each with the interval that holds 95 % of them."""
    numbers = []
    for among in _AMONG:
        shares = np.array([each.is_right(among).mean() for each in draws])
        at = {**where, "among": among}
        numbers.append(_over_draws("accuracy", shares, at))
        numbers.append(_over_draws("accuracy_change", shares - before.is_right(among).mean(), at))
    means = np.array([each.logit_difference.mean(dtype=np.float64) for each in draws])
    return [*numbers, replace(_over_draws("mean_logit_difference", means, where), unit="logits")]


def _over_draws(name: str, values: Float[np.ndarray, " draws"], where: dict[str, str]) -> Number:
    low, high = (float(each) for each in np.quantile(values, [0.025, 0.975]))
    return Number(name=name, value=float(values.mean()), better="higher", interval=(low, high), where=where)
