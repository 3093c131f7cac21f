"""Is the circuit of one task reused by another? Path patching from the logits backwards, overlap, forced attention.

The claims of Merullo, Eickhoff & Pavlick 2024 (2310.08744): colored objects are told by most of the heads that tell
indirect objects, and forcing three inhibition heads and the negative mover head to behave as they do there repairs the
second task; that does more the more a head carries; and blocking the heads that gather the content breaks it. We add
what these need to mean anything: whether the model does both tasks, chance among all heads and within layers, other
tasks, random heads, and a small model trained on both tasks, for a published one may do neither.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from transformers import AutoConfig

from dimscope.bench import Bench
from dimscope.core import seeds
from dimscope.core.errors import UserError
from dimscope.core.result import Array, Number, Result
from dimscope.methods.build.prompt_model import PromptModel
from dimscope.methods.intervene.block_heads import BlockHeads
from dimscope.methods.intervene.force_attention import ForceAttention
from dimscope.methods.locate.head_forcing import HeadForcing
from dimscope.methods.locate.path_patching import PathPatching
from dimscope.methods.measure.prompt_accuracy import PromptAccuracy
from dimscope.models.folders import folder
from dimscope.models.size import size
from dimscope.prompt_study import FAMILY, PromptStudy
from dimscope.report.circuit_page import page
from dimscope.report.page import Page
from dimscope.running import run
from dimscope.scoring.circuits import Head, Roles, Stage, correlation, overlaps, stages_of
from dimscope.scoring.cost import FORWARD, Cost, total
from dimscope.study import Piece, attempted, gathered, placed, pooled_of, say_cost

SCRATCH = "small model trained here"
PERCENTS = (1, 2, 5, 10)
"""Of the heads, the tops that are compared."""
_AT_END = ("logits", "q")
"""Ends of paths that are at the last token alone."""
_CHOICES = ("all", "inhibition heads", "negative mover")
"""Which of the first task's heads are forced."""


class CircuitReuseStudy(PromptStudy):
    """Two tasks' circuits, stage by stage, the heads that they share, and the second task repaired by the first's."""

    sources = (
        "Merullo, Eickhoff & Pavlick 2024, Circuit Component Reuse Across Tasks in Transformer Language Models (ICLR, "
        "2310.08744)",
        "Wang, Variengien, Conmy, Shlegeris & Steinhardt 2023, Interpretability in the Wild (ICLR, 2211.00593)",
    )
    varied: ClassVar = {
        "path": ("receivers", "senders", "token"),
        "force": ("heads", "watched"),
        "scratch": ("also",),
    }
    rests_on: ClassVar = ("tasks", "control_tasks", "scratch_tasks", "inputs", "num_kept", "force")

    tasks: tuple[str, ...] = Field(("prompts/indirect_objects", "prompts/colored_objects"), min_length=2, max_length=2)
    """Two sets of prompts: the one whose circuit is known, and the one that is said to reuse it."""
    control_tasks: tuple[str, ...] = ("prompts/capitals",)
    """Other sets, whose circuits are held against the first one too."""
    inputs: tuple[Literal["q", "k", "v", "kv"], ...] = ("q", "kv")
    """Inputs of the heads of a stage in which the paths of the next one end, from the logits backwards."""
    num_kept: int = Field(4, ge=1)
    """Heads of a stage in which the paths of the next one end."""
    num_forced: int = Field(3, ge=1)
    """Inhibition heads that are forced, beside the negative mover head."""
    force: ForceAttention = ForceAttention()
    """Where heads are made to look, and how many draws of random ones there are."""
    scratch_tasks: tuple[str, ...] = Field(
        ("prompts/indirect_objects", "prompts/colored_objects/small"), min_length=2, max_length=2
    )
    """The two sets on which the small model is trained and studied, such as a small model can learn."""
    scratch: PromptModel = PromptModel(steps=1500, batch_size=64, intermediate_size=16)
    """How it is trained."""

    @model_validator(mode="after")
    def _names_all_sets_once(self) -> Self:
        for named in ((*self.tasks, *self.control_tasks), self.scratch_tasks):
            if len(set(named)) < len(named):
                raise ValueError(f"wanted every set of prompts once, got {' '.join(named)}")
        return self

    def reproduce(self, out: Path) -> None:
        """Find every circuit, compare, force, pool all numbers, write summary, tables and page."""
        started = time.monotonic()
        tasks = (*self.tasks, *self.control_tasks)
        of_models = {model: {task: self.bench(model, task, self.seed, out) for task in tasks} for model in self.models}
        benches = [bench for of_tasks in of_models.values() for bench in of_tasks.values()]
        self._say_cost(benches)
        studied = [self._of_model(model, of_tasks) for model, of_tasks in of_models.items()]
        if self.from_scratch:
            studied.append(self._of_scratch(out))
        num_pieces = len(self.models) * _num_pieces(len(tasks)) + self.from_scratch * (1 + _num_pieces(2))
        pieces = gathered(chain(*studied), num_pieces)
        self.complete(out, pooled_of(pieces, benches), started)

    def page(self, pooled: Result) -> Page:
        """Give the page of what was pooled."""
        return page(pooled)

    def _of_model(self, model: str, benches: Mapping[str, Bench]) -> Iterator[Piece]:
        """Measure every task, find its circuit, compare it with the first one's, and force that one's heads."""
        circuits: dict[str, list[Stage]] = {}
        for task, bench in benches.items():
            about, place = f"{model} on {task}", {"model": model, "task": task}
            yield attempted(f"{about}, accuracy", partial(run, PromptAccuracy(), bench), **place, part="accuracy")
            found = attempted(f"{about}, circuit", partial(self._circuit, bench), **place, part="circuit")
            yield found
            circuits[task] = stages_of(found.result)
            # One network in memory at a time, however many models and tasks there are.
            bench.release()
        known, reusing, *_ = benches
        shared = Result(numbers=overlaps(circuits, known, PERCENTS))
        yield Piece(f"{model}, overlap", placed(shared, model=model, part="overlap"))
        for choice in _CHOICES:
            forcing = partial(self._forced, benches[reusing], circuits[known], choice)
            place = {"model": model, "task": reusing, "part": "intervention", "choice": choice}
            yield attempted(f"{model} on {reusing}, {choice} forced", forcing, **place)
        about, place = f"{model} on {reusing}", {"model": model, "task": reusing}
        alone = partial(self._each_forced, benches[reusing], circuits[known])
        yield attempted(f"{about}, each head forced", alone, **place, part="each head forced")
        blocking = partial(self._blocked, benches[reusing], circuits[reusing])
        yield attempted(f"{about}, blocking", blocking, **place, part="blocking")
        benches[reusing].release()

    def _of_scratch(self, out: Path) -> Iterator[Piece]:
        """Train a small model on both tasks; the prompts that it is then asked are those held out."""
        like = self.bench(FAMILY, self.scratch_tasks[0], self.seed, out)
        training = self.scratch.model_copy(update={"also": self.scratch_tasks[1:]})
        built = attempted(SCRATCH, partial(run, training, like), model=SCRATCH, part="training")
        yield built
        if built.result.checkpoint:
            kept = str(like.store.checkpoint(built.result.checkpoint))
            benches = {task: self.bench(kept, task, self.seed, out) for task in self.scratch_tasks}
            yield from self._of_model(SCRATCH, benches)

    def _circuit(self, bench: Bench) -> Result:
        """Follow paths to the logits, then to the heads found, stage after stage."""
        numbers: list[Number] = []
        arrays: dict[str, Array] = {}
        notes: list[str] = []
        receivers: list[Head] = []
        for number, inputs in enumerate(("logits", *self.inputs), start=1):
            found = run(self._paths(inputs, receivers, bench), bench)
            reach = max((each.layer for each in receivers), default=bench.network.num_layers)
            stage = Stage(found.arrays["share"].values, reach)
            kept = stage.strongest(self.num_kept)
            told = [*found.numbers, *self._edges(bench, inputs, receivers, list(kept), found)]
            told.append(Number(name="reach", value=reach, unit="layers"))
            numbers += [replace(each, where={**each.where, "stage": number}) for each in told]
            arrays[f"stage {number}"] = found.arrays["share"]
            notes += found.notes
            receivers = list(kept)
            if not receivers:
                notes.append(f"No head sends anything to stage {number}, so the circuit ends there.")
                break
        return Result(numbers=numbers, arrays=arrays, notes=list(dict.fromkeys(notes)))

    def _paths(
        self, inputs: str, receivers: Sequence[Head], bench: Bench, senders: Sequence[Head] = ()
    ) -> PathPatching:
        """Give the patching of all paths that end in the logits, or in these inputs of the receivers.

        What the logits are read from is the last token, so there the movers' queries matter; keys and values do at all.
        """
        group = bench.network.num_heads // bench.network.num_kv_heads
        ends = [
            f"{each.layer}.{each.head if part == 'q' else each.head // group}.{part}"
            for each in receivers
            for part in inputs
        ]
        settings: dict[str, Any] = {
            "receivers": tuple(dict.fromkeys(ends)) or ("logits",),
            "token": "end" if inputs == "q" else "all",
            "senders": tuple(each.name for each in senders),
            "num_shown": max(self.path.num_shown, self.num_kept),
        }
        return self.path.model_copy(update=settings)

    def _edges(
        self, bench: Bench, inputs: str, receivers: Sequence[Head], kept: Sequence[Head], found: Result
    ) -> Iterator[Number]:
        """Tell what each head that was kept sends to each receiver alone."""
        if not receivers:
            yield from (_edge(found, each, "logits") for each in kept)
        for receiver in receivers:
            senders = [each for each in kept if each.layer < receiver.layer]
            if senders:
                alone = run(self._paths(inputs, [receiver], bench, senders), bench)
                yield from (_edge(alone, each, receiver.name) for each in senders)

    def _forced(self, bench: Bench, circuit: Sequence[Stage], choice: str) -> Result:
        """Force heads of the first task's circuit, and watch its mover heads.

        Raises:
            UserError: there is no such head.
        """
        roles = Roles.of(circuit, self.num_kept, self.num_forced)
        chosen = {"inhibition heads": roles.inhibiting, "negative mover": roles.negative}.get(choice, roles.all_forced)
        if not chosen:
            raise UserError("the first task's circuit has no such heads")
        names = {"heads": chosen, "watched": roles.movers}
        settings = {name: tuple(each.name for each in heads) for name, heads in names.items()}
        found = run(self.force.model_copy(update=settings), bench)
        told = Number(name="num_forced_heads", value=len(chosen), where={"heads": " ".join(settings["heads"])})
        return replace(found, numbers=[*found.numbers, told])

    def _each_forced(self, bench: Bench, circuit: Sequence[Stage]) -> Result:
        """Force every head alone, and hold what that does against what it carries in the first task.

        Heads are forced at the last token, so those stages count whose paths end there.
        """
        method = HeadForcing(toward=self.force.toward, token=self.force.token, taken="all")
        found = run(method, bench)
        stages = [each for each, inputs in zip(circuit, ("logits", *self.inputs), strict=False) if inputs in _AT_END]
        rng = seeds.stream(self.seed, "rank correlation")
        told = correlation(stages, found.arrays["change"].values, rng)
        return replace(found, numbers=[*found.numbers, *told])

    def _blocked(self, bench: Bench, circuit: Sequence[Stage]) -> Result:
        """Block the heads that tell the movers of the second task where to look: those that gather its content.

        Raises:
            UserError: there is no such head.
        """
        gathering = tuple(each.name for each in Roles.of(circuit, self.num_kept, self.num_forced).inhibiting)
        if not gathering:
            raise UserError("the second task's circuit has no such heads")
        found = run(BlockHeads(heads=gathering, num_draws=self.force.num_draws), bench)
        told = Number(name="num_blocked_heads", value=len(gathering), where={"heads": " ".join(gathering)})
        return replace(found, numbers=[*found.numbers, told])

    def _say_cost(self, benches: Sequence[Bench]) -> None:
        num_runs = 1 + 2 * (2 + len(self.inputs) * (1 + self.num_kept)) + len(_CHOICES) + 2
        of_scratch = [self.scratch_cost(self.scratch_tasks, num_runs)] if self.from_scratch else []
        say_cost(total([*map(self._cost, benches), *of_scratch]), benches[0], "float32")

    def _cost(self, bench: Bench) -> Cost:
        """Give what a model on a task takes: a path is about half a pass from the first difference on, a run four."""
        place, pairs = folder(bench.source), bench.pairs
        config, sizes, ends = AutoConfig.from_pretrained(place), size(place), pairs.places["end"]
        num_heads, num_stages = config.num_hidden_layers * config.num_attention_heads, len(self.inputs)
        num_changed = len(pairs) * int(ends.max() + 1 - pairs.first_difference.min())
        num_paths, num_runs = num_stages * (num_heads + self.num_kept**2), 1 + num_stages * (1 + self.num_kept)
        is_reusing = bench.task.name == self.tasks[1]
        num_blocked = (len(_CHOICES) + 1) * is_reusing
        num_passes = 2 + 4 * num_runs + num_blocked * (2 + self.force.num_draws)
        num_single = (1 + is_reusing) * num_heads * len(pairs)
        num_tokens = num_passes * int((ends + 1).sum()) + (num_paths * num_changed + num_single) / 2
        return Cost(
            num_runs=1 + num_runs + num_blocked + is_reusing,
            num_sentences=len(pairs),
            num_parameters=sizes.num_parameters if bench.task.name == self.tasks[0] else 0,
            disk_bytes=0,
            training=0,
            measuring=FORWARD * sizes.num_multiplied * num_tokens,
        )


def _num_pieces(num_tasks: int) -> int:
    """Give the number of pieces of a model: two of each task, the overlap, each choice forced, each head, blocking."""
    return 2 * num_tasks + 1 + len(_CHOICES) + 2


def _edge(found: Result, sender: Head, receiver: str) -> Number:
    number = found.number("patched_share", layer=sender.layer, head=sender.head)
    return replace(number, name="edge_share", where={**number.where, "sender": sender.name, "receiver": receiver})
