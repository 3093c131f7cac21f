"""What becomes of the answer when chosen heads are made to look at chosen tokens, beside as many random heads.

At one token, the rows of the heads' attention patterns become 0 but for equal shares on the named tokens; all else is
computed as ever. Merullo, Eickhoff & Pavlick 2024 (2310.08744) make the inhibition heads and the negative mover head of
the indirect-object circuit look at the two wrong colors, and tell the accuracy by arg-max over the vocabulary. We tell
it among the options too, what was right and is wrong now, and the same for random other heads of the same layers, of
which they draw none here: that heads are pushed at all may matter, whichever they are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from pydantic import Field, field_validator
from torch import Tensor

from dimscope.activations.continuation import Continuation
from dimscope.activations.edits import Edit, Rows, edit
from dimscope.activations.hooks import AtSite
from dimscope.activations.patterns import attention_patterns, patterned
from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UnknownName, UserError
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Array, Number, Result
from dimscope.data.batching import prompt_batches
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.load import Network
from dimscope.numerics.resampling import mean_interval
from dimscope.scoring.classification import accuracy
from dimscope.scoring.known import Among, Answered

Head = tuple[int, int]
"""Layer and head."""
NOTHING, CHOSEN, RANDOM = "nothing", "chosen heads", "random heads"
_AMONG: tuple[Among, ...] = ("outputs", "options")
_HEAD = re.compile(r"\d+\.\d+")


class ForceAttention(Method):
    """Accuracy and logit difference before and after the rows of named heads' patterns are overwritten."""

    sources = ("Merullo, Eickhoff & Pavlick 2024 (2310.08744), the attention intervention",)

    heads: tuple[str, ...] = ()
    """Heads that are made to look elsewhere, as layer.head: 17.4."""
    toward: tuple[str, ...] = Field(("other_color", "third_color"), min_length=1)
    """Named tokens that they look at, each equally; as given, the wrong colors of prompts/colored_objects."""
    token: str = "end"
    """The named token at which they look there."""
    watched: tuple[str, ...] = ()
    """Heads of which is told what they look at from that token, before and after."""
    num_draws: int = Field(10, ge=1)
    """Draws of as many other heads of the same layers, the control."""

    @field_validator("heads", "watched")
    @classmethod
    def _well_formed(cls, heads: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [each for each in heads if not _HEAD.fullmatch(each)]
        if wrong or len(set(heads)) != len(heads):
            raise ValueError(f"wanted different heads such as '17.4', got {heads}")
        return heads

    def run(self, bench: Bench) -> Result:
        """Answer all prompts with nothing forced, with the chosen heads, and with random ones.

        Raises:
            UnknownName: the prompts have no such token.
            UserError: no head is named, or the model has no such head; or the tokens come after the one that looks.
        """
        network, pairs = bench.network, bench.pairs
        heads, watched = (_heads(each, network) for each in (self.heads, self.watched))
        if not heads:
            raise UserError("wanted heads to force, such as --heads 17.4 20.1: locate/path_patching finds some")
        _require_places(pairs, network, self.toward, self.token)
        rng = seeds.stream(bench.seed, "random heads")
        draws = [others(heads, network.num_heads, rng) for _ in range(self.num_draws)]
        before, after, *random = self._answers(network, pairs, [[], heads, *draws])
        chance = Number(name="chance_accuracy", value=pairs.is_right.mean(), where={"among": "options"})
        numbers = [*_told(before, NOTHING), *_told(after, CHOSEN), *_changes(before, after), *_controls(before, random)]
        looks = self._looks(network, pairs, heads, watched) if watched else {}
        return Result(
            numbers=[*numbers, chance, *_attention(looks)],
            arrays={"is_right": _right(before, after, random), **looks},
            notes=[*pairs.notes, *_too_few(heads, network.num_heads)],
        )

    def _answers(self, network: Network, pairs: PromptPairs, choices: Sequence[Sequence[Head]]) -> list[Answered]:
        """Answer all prompts once for each choice of forced heads.

        What comes before the token and before the first forced layer is as it was, and computed once.
        """
        answered = [Answered.empty(len(pairs)) for _ in choices]
        with work("prompts", len(pairs) * len(choices)) as done:
            for indices, chosen, batch in prompt_batches(pairs):
                base = Continuation(network, batch, start=int(chosen.places[self.token].min()))
                rows = looking_at(chosen, self.toward)
                for each, of in zip(choices, answered, strict=True):
                    forcing = _forcing(base, rows, chosen.places[self.token], each)
                    with patterned(network, forcing):
                        logits = base.outputs(min(forcing, default=0), {})[0]
                    of.fill(indices, logits.float(), chosen)
                    done(len(indices))
        return answered

    @torch.inference_mode()
    def _looks(
        self, network: Network, pairs: PromptPairs, heads: Sequence[Head], watched: Sequence[Head]
    ) -> dict[str, Array]:
        """Give what the watched heads look at, of the named tokens, with nothing forced and with the chosen heads."""
        places = [name for name in pairs.places if name != self.token]
        layers = sorted({layer for layer, _ in watched})
        shares = np.empty((2, len(watched), len(places), len(pairs)), np.float32)
        for indices, chosen, batch in prompt_batches(pairs):
            rows = np.arange(len(indices))
            for when, each in enumerate(([], heads)):
                with forced(network, chosen, each, self.toward, self.token):
                    patterns = attention_patterns(network, batch, layers)
                for number, (layer, head) in enumerate(watched):
                    row = patterns[layer][rows, head, chosen.places[self.token]].float().cpu().numpy()
                    for place, name in enumerate(places):
                        shares[when, number, place, indices] = row[rows, chosen.places[name]]
        ticks = {"forced": (NOTHING, CHOSEN), "head": [f"{layer}.{head}" for layer, head in watched], "place": places}
        return {"attention": Array(shares, ("forced", "head", "place", "pair"), ticks=ticks)}


def forced(
    network: Network, pairs: PromptPairs, heads: Sequence[Head], toward: Sequence[str], token: str = "end"
) -> AbstractContextManager[None]:
    """Within the block, the heads look from `token` at the tokens `toward` of these very prompts, and at nothing else.

    Raises:
        UserError: the model has no such head.
    """
    rows = looking_at(pairs, toward)[:, None, None]
    tokens = pairs.places[token][:, None]
    edits = [
        Edit(f"layers.{layer}.attn.pattern", Rows(rows), heads=each, tokens=tokens)
        for layer, each in _by_layer(heads).items()
    ]
    return edit(network, edits)


def looking_at(pairs: PromptPairs, toward: Sequence[str]) -> Float32[np.ndarray, "pairs tokens"]:
    """Give rows of a pattern: an equal share for each of the named tokens, 0 elsewhere.

    >>> ids, one = np.array([[5, 6, 7]]), np.array([0])
    >>> pairs = PromptPairs("x", ("a",), ("b",), ids, ids, ids, one, one, {"red": one, "blue": one + 2, "end": one + 2})
    >>> looking_at(pairs, ["red", "blue"]).tolist()
    [[0.5, 0.0, 0.5]]
    """
    rows = np.zeros(pairs.ids.shape, np.float32)
    for name in toward:
        rows[np.arange(len(pairs)), pairs.places[name]] += 1 / len(toward)
    return rows


def others(heads: Sequence[Head], num_heads: int, rng: np.random.Generator) -> list[Head]:
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


def _forcing(
    base: Continuation,
    rows: Float32[np.ndarray, "batch keys"],
    tokens: Int[np.ndarray, " batch"],
    heads: Sequence[Head],
) -> dict[int, AtSite]:
    """Give what puts the rows into the patterns of a pass that begins at a later token."""
    given = torch.from_numpy(rows)
    own, at = torch.arange(len(rows)), torch.from_numpy(tokens) - base.start

    def forcing(of_layer: Sequence[int]) -> AtSite:
        def change(values: Tensor, mask: Tensor) -> Tensor:
            new = values.clone().unflatten(2, (base.network.num_heads, -1))
            for head in of_layer:
                new[own, at, head] = given[:, : new.shape[3]].to(new)
            return new.flatten(2)

        return change

    return {layer: forcing(of_layer) for layer, of_layer in _by_layer(heads).items()}


def _by_layer(heads: Sequence[Head]) -> dict[int, list[int]]:
    of_layers: defaultdict[int, list[int]] = defaultdict(list)
    for layer, head in heads:
        of_layers[layer].append(head)
    return dict(of_layers)


def _heads(names: Sequence[str], network: Network) -> list[Head]:
    heads = []
    for name in names:
        layer, head = map(int, name.split("."))
        if layer >= network.num_layers or head >= network.num_heads:
            raise UserError(
                f"no head {name!r}: layers are 0 to {network.num_layers - 1}, heads 0 to {network.num_heads - 1}"
            )
        heads.append((layer, head))
    return heads


def _require_places(pairs: PromptPairs, network: Network, toward: Sequence[str], token: str) -> None:
    for name in (*toward, token):
        if name not in pairs.places:
            raise UnknownName("token", name, pairs.places, f"Name tokens of {pairs.name} with --toward and --token.")
    late = [name for name in toward if (pairs.places[name] > pairs.places[token]).any()]
    if late and network.is_decoder:
        raise UserError(f"{token!r} comes before {late[0]!r}, which a decoder cannot look at: take earlier tokens")


def _told(answered: Answered, what: str) -> list[Number]:
    """Give the accuracies and the mean logit difference."""
    difference = answered.logit_difference.astype(np.float64)
    return [
        *(accuracy(answered.is_right(among), forced=what, among=among) for among in _AMONG),
        replace(_mean("mean_logit_difference", difference, forced=what), unit="logits", better="higher"),
    ]


def _changes(before: Answered, after: Answered) -> list[Number]:
    """Give the change of the accuracy, with the interval of paired answers, and what it is made of."""
    numbers = []
    for among in _AMONG:
        was, is_now = before.is_right(among), after.is_right(among)
        where = {"forced": CHOSEN, "among": among}
        change = _mean("accuracy_change", is_now.astype(np.float64) - was, **where)
        numbers += [replace(change, better="higher"), accuracy(is_now & ~was, "newly_right_fraction", **where)]
        numbers.append(replace(accuracy(was & ~is_now, "newly_wrong_fraction", **where), better="lower"))
    return numbers


def _controls(before: Answered, draws: Sequence[Answered]) -> list[Number]:
    """Give means over draws, each with the interval that holds 95 % of them."""
    numbers = []
    for among in _AMONG:
        shares = np.array([each.is_right(among).mean() for each in draws])
        where = {"forced": RANDOM, "among": among}
        numbers.append(_over_draws("accuracy", shares, **where))
        numbers.append(_over_draws("accuracy_change", shares - before.is_right(among).mean(), **where))
    means = np.array([each.logit_difference.mean(dtype=np.float64) for each in draws])
    return [*numbers, replace(_over_draws("mean_logit_difference", means, forced=RANDOM), unit="logits")]


def _over_draws(name: str, values: Float[np.ndarray, " draws"], **where: str) -> Number:
    low, high = (float(each) for each in np.quantile(values, [0.025, 0.975]))
    return Number(name=name, value=float(values.mean()), better="higher", interval=(low, high), where=where)


def _attention(looks: dict[str, Array]) -> list[Number]:
    """Give the share of attention that each named token has of the watched heads, on average, and its change."""
    numbers = []
    for looked in looks.values():
        of_heads = looked.values.mean(axis=1, dtype=np.float64)
        for place, (before, after) in zip(looked.ticks["place"], of_heads.swapaxes(0, 1), strict=True):
            for what, values in ((NOTHING, before), (CHOSEN, after)):
                numbers.append(_mean("watched_attention", values, forced=what, place=place))
            numbers.append(_mean("watched_attention_change", after - before, place=place))
    return numbers


def _mean(name: str, values: Float[np.ndarray, " pairs"], **where: str) -> Number:
    return Number(name=name, value=float(values.mean()), interval=mean_interval(values), where=where)


def _right(before: Answered, after: Answered, random: Sequence[Answered]) -> Array:
    """Give which prompts are right under nothing, the chosen heads, and each draw."""
    names = [NOTHING, CHOSEN, *(f"{RANDOM} {number}" for number in range(1, len(random) + 1))]
    rows = [[each.is_right(among) for among in _AMONG] for each in (before, after, *random)]
    return Array(np.array(rows).astype(np.int64), ("forced", "among", "pair"), ticks={"forced": names, "among": _AMONG})


def _too_few(heads: Sequence[Head], num_heads: int) -> list[str]:
    counts = {layer: sum(of == layer for of, _ in heads) for layer, _ in heads}
    full = [str(layer) for layer, count in counts.items() if 2 * count > num_heads]
    if not full:
        return []
    return [f"Of layers {', '.join(full)} more than half of the heads were forced: the control forces fewer there."]
