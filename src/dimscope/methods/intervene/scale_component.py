"""What becomes of the answers when a part of the model writes less: its output times 1 − γ, over doses γ.

The mitigation of Lv et al. 2024 (2403.19521) takes back what the last layer does against the right answer; their
formula was not recovered. Ours: at the token that is read, the output of a head (before the output projection) or of an
attention or MLP (after it, its bias included) becomes (1 − γ) times itself; γ = 0 is the model, 1 is without the part,
below 0 is more of it. The control is the same in other layers, drawn at random.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field, field_validator

from dimscope.activations.edits import Edit, Scale, edit
from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Array, Number, Result
from dimscope.data.batching import prompt_batches
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.classify import classify
from dimscope.models.load import Network
from dimscope.numerics.resampling import mean_interval
from dimscope.scoring.classification import accuracy
from dimscope.scoring.known import Taken, taken
from dimscope.scoring.metrics import METRICS

_PART = re.compile(r"(\d+|last)\.(mlp|attention|\d+)")
_SITES = {"mlp": "mlp.out", "attention": "attn.out"}
_TOLD = ("accuracy", "probability", "log_probability", "logit_difference")
_UNITS = {"log_probability": "nats", "logit_difference": "logits"}
Outcome = Float[np.ndarray, "metrics pairs"]
Where = Mapping[str, str | float]


@dataclass(frozen=True)
class Component:
    """A layer's head, or its attention or MLP as a whole."""

    layer: int
    part: str

    @property
    def name(self) -> str:
        """Give its name: 29.mlp, 29.attention, or 29.3 for a head."""
        return f"{self.layer}.{self.part}"

    def scaled(self, factor: float) -> Edit:
        """Give the edit that multiplies what it gives at the token that is read."""
        if self.part in _SITES:
            return Edit(f"layers.{self.layer}.{_SITES[self.part]}", Scale(factor), tokens="pooled")
        return Edit(f"layers.{self.layer}.attn.heads", Scale(factor), heads=[int(self.part)], tokens="pooled")


class ScaleComponent(Method):
    """Accuracy, probability and logit difference of the answers as a part's output is scaled, beside other layers."""

    sources = ("after Lv, Chen, Zhang, Wang, Liu, Wen, Xie & Yan 2024 (2403.19521); the formula is ours",)

    parts: tuple[str, ...] = Field(("last.mlp",), min_length=1)
    """What is scaled, all at once: layer.mlp, layer.attention, or layer.head, such as 29.3 or last.mlp."""
    doses: tuple[float, ...] = Field((0.25, 0.5, 0.75, 1.0), min_length=1)
    """γ: the parts' output is multiplied by 1 − γ."""
    num_controls: int = Field(3, ge=0)
    """Other layers, drawn at random, in which the same is done; each is a forward pass for every dose."""
    taken: Taken = "all"
    """Which pairs are looked at: all, or those whose prompt the model has right, which can only get worse."""

    @field_validator("parts")
    @classmethod
    def _well_formed(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [part for part in parts if not _PART.fullmatch(part)]
        if wrong:
            raise ValueError(f"wanted parts such as 'last.mlp', '29.attention' and the head '29.3', got {wrong[0]!r}")
        return parts

    def run(self, bench: Bench) -> Result:
        """Scale the parts by every dose, and then those of other layers.

        Raises:
            UserError: the model has no such part, or none of the prompts right.
        """
        network: Network = bench.network
        chosen = [component(name, network) for name in self.parts]
        pairs, numbers = taken(network, bench.pairs, self.taken)
        controls = elsewhere(chosen, network, self.num_controls, seeds.stream(bench.seed, "other layers"))
        groups = {" ".join(each.name for each in some): some for some in (chosen, *controls)}
        with work("doses", 1 + len(groups) * len(self.doses)) as done:
            before = outcome(network, pairs, [], 1)
            done(1)
            found = []
            for some in groups.values():
                for dose in self.doses:
                    found.append(outcome(network, pairs, some, 1 - dose))
                    done(1)
        curves = np.reshape(found, (len(groups), len(self.doses), *before.shape))
        numbers += _levels(before, {"scaled": "nothing", "dose": 0.0})
        for dose, values in zip(self.doses, curves[0], strict=True):
            where: Where = {"scaled": next(iter(groups)), "dose": dose}
            numbers += [*_levels(values, where), *_changes(values - before, where)]
        numbers += self._controls(curves[1:] - before)
        ticks = {"scaled": list(groups), "dose": [f"{dose:g}" for dose in self.doses], "metric": _TOLD}
        notes = [f"The same was done in other layers: {', '.join(list(groups)[1:]) or 'none'}."]
        arrays = {"mean": Array(curves.mean(axis=3), ("scaled", "dose", "metric"), ticks=ticks)}
        return Result(numbers=numbers, arrays=arrays, notes=[*pairs.notes, *notes])

    def _controls(self, changes: Float[np.ndarray, "controls doses metrics pairs"]) -> Iterator[Number]:
        """Tell the mean change over the other layers, with the least and the greatest."""
        for dose, values in zip(self.doses, np.moveaxis(changes.mean(axis=3), 1, 0), strict=True):
            for metric, means in zip(_TOLD, values.T, strict=True):
                if len(means):
                    yield Number(
                        name=f"{metric}_change",
                        value=float(means.mean()),
                        unit=_UNITS.get(metric, ""),
                        interval=(float(means.min()), float(means.max())),
                        where={"scaled": "other layers", "dose": dose},
                    )


def scaled(network: Network, chosen: Sequence[Component], factor: float) -> AbstractContextManager[None]:
    """Within the block, the components write so many times what they would, at the token that is read."""
    return edit(network, [each.scaled(factor) for each in chosen])


@torch.inference_mode()
def outcome(network: Network, pairs: PromptPairs, chosen: Sequence[Component], factor: float) -> Outcome:
    """Give accuracy, probability, log-probability and logit difference of every prompt's answer with these scaled."""
    found = np.empty((len(_TOLD), len(pairs)))
    for indices, some, batch in prompt_batches(pairs):
        with scaled(network, chosen, factor):
            logits = classify(network, batch).float()
        for number, metric in enumerate(_TOLD):
            found[number, indices] = METRICS[metric](logits, some.answers, some.others).cpu().numpy()
    return found


def component(name: str, network: Network) -> Component:
    """Give the component of a well-formed name.

    Raises:
        UserError: the model has no such layer or head.
    """
    layer, _, part = name.partition(".")
    number = network.num_layers - 1 if layer == "last" else int(layer)
    if number >= network.num_layers or (part.isdecimal() and int(part) >= network.num_heads):
        raise UserError(
            f"{network.name!r} has no part {name!r}: layers are 0 to {network.num_layers - 1}, heads 0 to "
            f"{network.num_heads - 1}"
        )
    return Component(number, part)


def elsewhere(
    chosen: Sequence[Component], network: Network, num_layers: int, rng: np.random.Generator
) -> list[list[Component]]:
    """Give, for each of some layers drawn from those without a chosen component, as many of the same kind in it."""
    free = sorted(set(range(network.num_layers)) - {each.layer for each in chosen})
    others = []
    for layer in rng.permutation(free)[:num_layers].tolist():
        heads = cycle(rng.permutation(network.num_heads).tolist())
        parts = (each.part if each.part in _SITES else str(next(heads)) for each in chosen)
        others.append([Component(layer, part) for part in dict.fromkeys(parts)])
    return others


def _levels(values: Outcome, where: Where) -> Iterator[Number]:
    is_right, *others = values
    yield replace(accuracy(is_right.astype(bool)), where=where)
    for metric, of in zip(_TOLD[1:], others, strict=True):
        unit = _UNITS.get(metric, "")
        yield Number(name=f"mean_{metric}", value=of.mean(), unit=unit, interval=mean_interval(of), where=where)


def _changes(changes: Outcome, where: Where) -> Iterator[Number]:
    """Tell the change of every metric against the whole model, pair by pair."""
    for metric, of in zip(_TOLD, changes, strict=True):
        unit = _UNITS.get(metric, "")
        yield Number(name=f"{metric}_change", value=of.mean(), unit=unit, interval=mean_interval(of), where=where)
