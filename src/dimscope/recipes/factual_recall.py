"""How a model comes from France to Paris, and whether its last layer makes it less sure: heads, MLPs, the last layer.

The claims of Lv et al. 2024 (2403.19521): heads pass the subject on, MLPs reweight what they wrote, one adds a vector
that turns the subject into the answer, the last layer lowers the right answer, and taking that back helps. We add what
these need to mean anything: scrambled prompts, subjects left out, random vectors, other layers, a second set of facts,
and small models trained here with and without wrong answers, so that a reason for the last claim is known.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field
from transformers import AutoConfig

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.result import Number, Result
from dimscope.methods.intervene.scale_component import ScaleComponent
from dimscope.methods.locate.head_reweighting import HeadReweighting
from dimscope.methods.measure.last_layer import LastLayer
from dimscope.methods.measure.prompt_accuracy import PromptAccuracy
from dimscope.models.folders import folder
from dimscope.models.size import size
from dimscope.prompt_study import FAMILY, PromptStudy
from dimscope.report.page import Page
from dimscope.report.recall_page import page
from dimscope.running import run
from dimscope.scoring.cost import FORWARD, Cost, total
from dimscope.study import Piece, attempted, gathered, pooled_of, require_distinct, say_cost

SCRATCH = "trained here"
_PIECES = 6


class FactualRecallStudy(PromptStudy):
    """Heads that act on the answer, MLPs as weighted sums of them, what the last layer does, and taking that back."""

    sources = (
        "Lv, Chen, Zhang, Wang, Liu, Wen, Xie & Yan 2024, Interpreting Key Mechanisms of Factual Recall in "
        "Transformer-Based Language Models (2403.19521)",
    )
    varied: ClassVar = {
        "path": ("receivers", "senders", "token"),
        "reweighting": ("heads",),
        "last_layer": ("taken",),
        "mitigation": ("parts", "taken"),
        "scratch": ("label_noise", "also"),
    }

    tasks: tuple[str, ...] = Field(("prompts/capitals", "prompts/facts"), min_length=1)
    """Sets of prompts; small models are trained here on the first one."""
    num_movers: int = Field(5, ge=1)
    """Heads that send most to the logits, either way, and are looked at further."""
    reweighting: HeadReweighting = HeadReweighting()
    """How MLPs are told by heads."""
    last_layer: LastLayer = LastLayer()
    """How the last layer is taken apart."""
    mitigation: ScaleComponent = ScaleComponent()
    """How the responsible part is made smaller."""
    label_noise: float = Field(0.3, gt=0, lt=1)
    """Share of wrong answers in the data of the second small model."""

    @property
    def noises(self) -> tuple[float, ...]:
        """The shares of wrong answers under which small models are trained."""
        return (0.0, self.label_noise) if self.from_scratch else ()

    def reproduce(self, out: Path) -> None:
        """Look at every model on every set of prompts, pool all numbers, write summary, tables and page."""
        started = time.monotonic()
        benches = [self.bench(model, task, self.seed, out) for model in self.models for task in self.tasks]
        require_distinct(benches)
        self._say_cost(benches)
        studied = [*(self._of(bench) for bench in benches), *(self._of_scratch(noise, out) for noise in self.noises)]
        num_pieces = len(benches) * _PIECES + len(self.noises) * (1 + _PIECES)
        pieces = gathered(chain(*studied), num_pieces)
        self.complete(out, pooled_of(pieces, benches), started)

    def page(self, pooled: Result) -> Page:
        """Give the page of what was pooled."""
        return page(pooled)

    def _of(self, bench: Bench, model: str = "") -> Iterator[Piece]:
        """Give all pieces of a model on a set of prompts; `model` is what it is called on the page."""
        place = {"model": model or str(bench.where["model"]), "task": str(bench.where["task"])}
        about = f"{place['model']} on {place['task']}"

        def piece(name: str, measure: partial[Result]) -> Piece:
            return attempted(f"{about}, {name}", measure, **place, piece=name)

        yield piece("accuracy", partial(run, PromptAccuracy(), bench))
        movers = piece("movers", partial(self._movers, bench))
        yield movers
        yield piece("reweighting", partial(self._reweighting, bench, movers.result))
        yield piece("last layer", partial(run, self.last_layer, bench))
        everything = self.last_layer.model_copy(update={"taken": "all"})
        every = piece("last layer, all prompts", partial(run, everything, bench))
        yield every
        yield piece("mitigation", partial(self._mitigation, bench, every.result))
        # One network in memory at a time, however many models there are.
        bench.release()

    def _of_scratch(self, noise: float, out: Path) -> Iterator[Piece]:
        """Train a small model on the first set of prompts with so many wrong answers, and look at it alike."""
        name = f"{SCRATCH}, {noise:.0%} noise"
        like = self.bench(FAMILY, self.tasks[0], self.seed, out)
        training = self.scratch.model_copy(update={"label_noise": noise})
        place = {"model": name, "task": self.tasks[0], "piece": "training", "label_noise": str(noise)}
        built = attempted(name, partial(run, training, like), **place)
        yield built
        if built.result.checkpoint:
            kept = str(like.store.checkpoint(built.result.checkpoint))
            yield from self._of(self.bench(kept, self.tasks[0], self.seed, out), name)

    def _movers(self, bench: Bench) -> Result:
        """Find the heads that send most to the logits, and tell how much of all that is."""
        asked = self.path.model_copy(update={"num_shown": max(self.path.num_shown, self.num_movers)})
        found = run(asked, bench)
        sent = np.abs(found.arrays["share"].values)
        heads = _strongest(found, self.num_movers)
        where = {"heads": ", ".join(heads)}
        told = {
            "carried_fraction": float(np.sort(sent, axis=None)[-len(heads) :].sum() / sent.sum()),
            "even_fraction": len(heads) / sent.size,
        }
        numbers = [Number(name=name, value=value, where=where) for name, value in told.items()]
        return replace(found, numbers=[*found.numbers, *numbers])

    def _reweighting(self, bench: Bench, movers: Result) -> Result:
        """Tell MLPs by those heads.

        Raises:
            UserError: they were not found.
        """
        if not movers.numbers:
            raise UserError("the heads that act on the answer are not known")
        heads = tuple(_strongest(movers, self.num_movers))
        return run(self.reweighting.model_copy(update={"heads": heads}), bench)

    def _mitigation(self, bench: Bench, last_layer: Result) -> Result:
        """Make the part of the last layer smaller that takes most from the answer, on prompts of another draw.

        Raises:
            UserError: the last layer was not taken apart.
        """
        if not last_layer.numbers:
            raise UserError("what the parts of the last layer do is not known")
        lowest = min((each for each in last_layer.numbers if _is_part(each)), key=lambda each: each.value, default=None)
        assert lowest is not None
        part = str(lowest.where["part"])
        name = f"{bench.network.num_layers - 1}.{'mlp' if part == 'MLP' else part.removeprefix('head ')}"
        another = self.bench(bench.source.name, bench.task.name, self.seed + 1, bench.store.root)
        found = run(self.mitigation.model_copy(update={"parts": (name,)}), another)
        told = replace(lowest, name="responsible_share", where={"scaled": name})
        another.release()
        return replace(found, numbers=[*found.numbers, told], arrays={})

    def _say_cost(self, benches: Sequence[Bench]) -> None:
        of_scratch = [self.scratch_cost(self.tasks[:1], 1 + _PIECES)] * len(self.noises)
        say_cost(total([*map(self._cost, benches), *of_scratch]), benches[0], "float32")

    def _cost(self, bench: Bench) -> Cost:
        """Give what a model on a set of prompts takes, roughly; a path to the logits is half a pass of one token."""
        config, sizes, pairs = AutoConfig.from_pretrained(folder(bench.source)), size(folder(bench.source)), bench.pairs
        num_tokens = int(pairs.mask.sum())
        num_scaled = 1 + (1 + self.mitigation.num_controls) * len(self.mitigation.doses)
        num_paths = config.num_hidden_layers * config.num_attention_heads * len(pairs) / 2
        return Cost(
            num_runs=_PIECES,
            num_sentences=len(pairs),
            num_parameters=sizes.num_parameters,
            disk_bytes=0,
            training=0,
            # Accuracy of both texts, the known ones, three times states, both texts for the paths.
            measuring=FORWARD * sizes.num_multiplied * (num_paths + num_tokens * (10 + num_scaled)),
        )


def _strongest(movers: Result, num_heads: int) -> list[str]:
    """Give the heads that send most, either way, such as 23.3."""
    sent = np.abs(movers.arrays["share"].values)
    most = np.argsort(-sent, axis=None, kind="stable")[:num_heads].tolist()
    return [f"{layer}.{head}" for layer, head in (divmod(place, sent.shape[1]) for place in most)]


def _is_part(number: Number) -> bool:
    """Tell whether it is what a head or the MLP of the last layer does to the answer's log-probability."""
    part = str(number.where.get("part", ""))
    return number.name == "mean_log_probability_share" and (part == "MLP" or part.startswith("head "))
