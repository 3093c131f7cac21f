"""Whether the claims about reused circuits hold for one model, told from the numbers of a study.

The claims are those of Merullo, Eickhoff & Pavlick 2024 (2310.08744): two tasks share most of their heads, other tasks
share fewer, forcing the first task's heads repairs the second task, the mover heads then look away from the wrong
answers, a head that carries more does more when forced, and blocking content gatherers breaks the second task. That the
model does both tasks is what they need to mean anything. What counts as holding is ours: a task is done if its accuracy
among the options is 10 points above chance, heads are reused if chance is beaten at p < 0.05 both among all heads and
within layers, an interval lies above 0 and a number above that of random heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dimscope.core.result import Number, Result
from dimscope.report.tables import cell, cell_of
from dimscope.report.verdict import FAILS, HOLDS, UNMEASURED, UNTOLD, Verdict

MARGIN = 0.1
"""So far above chance a task is done."""
PERCENT = 2
"""The top heads that the published overlap is of."""
NOTHING_LEFT = 0.95
"""An accuracy from which on there is nothing to repair."""
_LEVEL = 0.05
_PUBLISHED: Mapping[str, str | int] = {"stage": "all", "percent": PERCENT}


@dataclass(frozen=True)
class Tasks:
    """The task whose circuit is known, the one that is said to reuse it, and others."""

    known: str
    reusing: str
    others: Sequence[str] = ()

    @classmethod
    def of(cls, settings: Mapping[str, Any], model: str) -> Tasks:
        """Read a model's tasks off the study's settings; a model that was trained for the study has its own.

        >>> settings = {"models": ["gpt2"], "tasks": ["a", "b"], "control_tasks": ["c"], "scratch_tasks": ["a", "d"]}
        >>> Tasks.of(settings, "gpt2").others, Tasks.of(settings, "small").reusing
        (['c'], 'd')
        """
        was_given = model in settings["models"]
        known, reusing = settings["tasks" if was_given else "scratch_tasks"]
        return cls(known, reusing, settings["control_tasks"] if was_given else ())


def verdicts(result: Result, model: str) -> list[Verdict]:
    """Judge the seven claims, in the order in which they are told."""
    tasks = Tasks.of(result.settings, model)
    accuracy, overlap, forced, alone, blocked = (
        result.only(part=name, model=model)
        for name in ("accuracy", "overlap", "intervention", "each head forced", "blocking")
    )
    lacking = [short(task) for task in (tasks.known, tasks.reusing) if not does(accuracy, task)]
    return [
        _does_both(accuracy, tasks),
        _reuses(overlap, tasks, lacking),
        _reuses_more(overlap, accuracy, tasks, lacking),
        _repairs(forced, tasks, lacking),
        _looks_away(forced, result.settings["force"]["toward"], tasks, lacking),
        _goes_with_importance(alone, tasks, lacking),
        _gathers(blocked, tasks, lacking),
    ]


def short(task: str) -> str:
    """Give a set of prompts in a reader's words.

    >>> short("prompts/colored_objects")
    'colored objects'
    """
    return task.removeprefix("prompts/").replace("_", " ")


def does(accuracy: Result, task: str) -> bool:
    """Tell whether a task is done, so that its circuit is one."""
    right = find(accuracy, "accuracy", task=task, text="prompt", among="options")
    return right is not None and right.value >= _chance(accuracy, task) + MARGIN


def find(result: Result, name: str, **where: str | int) -> Number | None:
    """Give the one number of that name at that place, if it was measured."""
    wanted = where.items()
    return next((each for each in result.numbers if each.name == name and wanted <= dict(each.where).items()), None)


def _chance(accuracy: Result, task: str) -> float:
    return accuracy.value("chance_accuracy", task=task, text="prompt", among="options")


def _does_both(accuracy: Result, tasks: Tasks) -> Verdict:
    claim, told = "Does both tasks", []
    for task in (tasks.known, tasks.reusing):
        if find(accuracy, "accuracy", task=task) is None:
            return Verdict(claim, UNMEASURED, f"{short(task).capitalize()}: not measured")
        outputs, options = (
            cell_of(accuracy.number("accuracy", task=task, text="prompt", among=among))
            for among in ("outputs", "options")
        )
        not_done = "" if does(accuracy, task) else ", so the task is not done"
        told.append(
            f"of {short(task)} {options} are right among the options, where chance gives "
            f"{cell(_chance(accuracy, task))} ({outputs} among the whole vocabulary){not_done}"
        )
    holds = does(accuracy, tasks.known) and does(accuracy, tasks.reusing)
    said = "; ".join(told)
    return Verdict(claim, HOLDS if holds else FAILS, said[0].upper() + said[1:])


def _reuses(overlap: Result, tasks: Tasks, lacking: Sequence[str]) -> Verdict:
    claim = "Heads are reused"
    shared = find(overlap, "num_shared_heads", task=tasks.reusing, **_PUBLISHED)
    if shared is None:
        return Verdict(claim, UNMEASURED, "Shared heads: not measured")

    def value(name: str) -> float:
        return overlap.value(name, task=tasks.reusing, **_PUBLISHED)

    clause = (
        f"Of the top {PERCENT} % of the heads of every stage, {value('num_top_heads'):.0f} in all, the two circuits "
        f"share {shared.value:.0f}, where chance gives {cell(value('shared_by_chance'))} "
        f"(p = {cell(value('shared_p_value'))}), and {cell(value('shared_by_chance_within_layers'))} if each layer "
        f"keeps its number (p = {cell(value('shared_p_value_within_layers'))})"
    )
    if lacking:
        return Verdict(claim, UNTOLD, f"{clause}; as it does not do {_listed(lacking)}, that tells of no circuit")
    if value("shared_p_value") >= _LEVEL:
        return Verdict(claim, FAILS, f"{clause}: no more than chance, so the claim does not hold here")
    if value("shared_p_value_within_layers") >= _LEVEL:
        return Verdict(claim, UNTOLD, f"{clause}: that may be a matter of layers alone, so the claim cannot be told")
    return Verdict(claim, HOLDS, f"{clause}: more than chance, so the claim holds here")


def _reuses_more(overlap: Result, accuracy: Result, tasks: Tasks, lacking: Sequence[str]) -> Verdict:
    claim, name = "More than of other tasks", "num_shared_heads"
    own = find(overlap, name, task=tasks.reusing, **_PUBLISHED)
    others = {
        task: number
        for task in tasks.others
        if does(accuracy, task) and (number := find(overlap, name, task=task, **_PUBLISHED)) is not None
    }
    if own is None or not others:
        return Verdict(claim, UNMEASURED, "Heads shared with other tasks that the model does: not measured")
    each = _listed([f"{number.value:.0f} with {short(task)}" for task, number in others.items()])
    clause = f"The first circuit shares {own.value:.0f} heads with {short(tasks.reusing)} and {each}"
    if lacking:
        return Verdict(claim, UNTOLD, f"{clause}; as it does not do {_listed(lacking)}, these cannot be compared")
    most = max(number.value for number in others.values())
    if own.value == most:
        return Verdict(claim, UNTOLD, f"{clause}: as many, so the claim cannot be told")
    if own.value < most:
        return Verdict(claim, FAILS, f"{clause}: no more, so the claim does not hold here")
    return Verdict(claim, HOLDS, f"{clause}: more, so the claim holds here")


def _repairs(forced: Result, tasks: Tasks, lacking: Sequence[str]) -> Verdict:
    """Judge by the whole vocabulary, as was published."""
    claim, of_all = "Forcing repairs the second task", forced.only(part="intervention", choice="all")
    change = find(of_all, "accuracy_change", forced="chosen heads", among="outputs")
    if change is None:
        return Verdict(claim, UNMEASURED, "Forced attention: not measured")
    (before, after, random), options = (_accuracies(of_all, "forced", among) for among in ("outputs", "options"))
    clause = (
        f"With {of_all.number('num_forced_heads').where['heads']} forced to look at the wrong answers, "
        f"{cell_of(after)} of {short(tasks.reusing)} are right among the whole vocabulary, before "
        f"{cell_of(before)} (change {cell_of(change)}), with random heads of the same layers {cell_of(random)}; "
        f"{cell(of_all.value('newly_wrong_fraction', among='outputs'))} were right and are wrong now; among the "
        f"options {cell_of(options[1])}, before {cell_of(options[0])}, with random heads {cell_of(options[2])}"
    )
    if short(tasks.known) in lacking:
        why = f"as it does not do {short(tasks.known)}, these heads are of no circuit"
        return Verdict(claim, UNTOLD, f"{clause}; {why}")
    if before.value >= NOTHING_LEFT:
        return Verdict(claim, UNTOLD, f"{clause}: there was nothing to repair")
    if change.high <= 0 or (change.low > 0 and after.value <= random.high):
        why = "random heads do as much" if change.low > 0 else "it does not rise"
        return Verdict(claim, FAILS, f"{clause}: {why}, so the claim does not hold here")
    if change.low <= 0:
        return Verdict(claim, UNTOLD, f"{clause}: the interval of the change meets 0, so the claim cannot be told")
    return Verdict(claim, HOLDS, f"{clause}: more than before and than with random heads, so the claim holds here")


def _accuracies(found: Result, done: str, among: str) -> tuple[Number, Number, Number]:
    """Give the accuracies with nothing forced or blocked, with the chosen heads, and with random ones."""
    before, after, random = (
        found.number("accuracy", **{done: what}, among=among) for what in ("nothing", "chosen heads", "random heads")
    )
    return before, after, random


def _looks_away(forced: Result, wrong: Sequence[str], tasks: Tasks, lacking: Sequence[str]) -> Verdict:
    claim, of_all = "Movers look away from the wrong", forced.only(part="intervention", choice="all")
    found = [find(of_all, "watched_attention_change", place=place) for place in wrong]
    changes = [each for each in found if each is not None]
    if len(changes) < len(wrong):
        return Verdict(claim, UNMEASURED, "What mover heads look at: not measured")
    named = _listed([f"{cell_of(each)} at {_words(place)}" for place, each in zip(wrong, changes, strict=True)])
    right = find(of_all, "watched_attention_change", place="answer_color")
    beside = f" ({cell_of(right)} at {_words('answer_color')})" if right else ""
    clause = f"With the same heads forced, the mover heads' share of attention changes by {named}{beside}"
    if short(tasks.known) in lacking:
        return Verdict(claim, UNTOLD, f"{clause}; as it does not do {short(tasks.known)}, they are no mover heads")
    if all(each.high < 0 for each in changes):
        return Verdict(claim, HOLDS, f"{clause}: less, so the claim holds here")
    if all(each.low >= 0 for each in changes):
        return Verdict(claim, FAILS, f"{clause}: no less, so the claim does not hold here")
    return Verdict(claim, UNTOLD, f"{clause}: not surely less, so the claim cannot be told")


def _goes_with_importance(alone: Result, tasks: Tasks, lacking: Sequence[str]) -> Verdict:
    claim, found = "What carries more does more when forced", find(alone, "rank_correlation")
    if found is None:
        return Verdict(claim, UNMEASURED, "Each head forced alone: not measured")
    clause = (
        f"Over {alone.value('num_correlated_heads'):.0f} heads, the rank correlation between what a head carries to "
        f"the last token in {short(tasks.known)} and how far forcing it alone moves the answer in "
        f"{short(tasks.reusing)} is {cell_of(found)} (p = {cell(alone.value('rank_correlation_p_value'))})"
    )
    if short(tasks.known) in lacking:
        return Verdict(claim, UNTOLD, f"{clause}; as it does not do {short(tasks.known)}, that tells of no circuit")
    return _by_sign(claim, clause, found)


def _gathers(blocked: Result, tasks: Tasks, lacking: Sequence[str]) -> Verdict:
    claim = "Blocking the gatherers breaks the second task"
    change = find(blocked, "accuracy_change", blocked="chosen heads", among="outputs")
    if change is None:
        return Verdict(claim, UNMEASURED, "Blocked heads: not measured")
    before, after, random = _accuracies(blocked, "blocked", "outputs")
    clause = (
        f"With {blocked.number('num_blocked_heads').where['heads']} blocked, {cell_of(after)} of "
        f"{short(tasks.reusing)} are right among the whole vocabulary, before {cell_of(before)} (change "
        f"{cell_of(change)}), with random heads of the same layers {cell_of(random)}"
    )
    if short(tasks.reusing) in lacking:
        why = f"as it does not do {short(tasks.reusing)}, these heads are of no circuit"
        return Verdict(claim, UNTOLD, f"{clause}; {why}")
    if change.high < 0 and after.value >= random.low:
        return Verdict(claim, FAILS, f"{clause}: random heads do as much, so the claim does not hold here")
    return _by_sign(claim, clause, replace(change, value=-change.value, interval=(-change.high, -change.low)))


def _by_sign(claim: str, clause: str, number: Number) -> Verdict:
    """Judge a number that the claim wants above 0."""
    if number.high <= 0:
        return Verdict(claim, FAILS, f"{clause}: the other way, so the claim does not hold here")
    if number.low <= 0:
        return Verdict(claim, UNTOLD, f"{clause}: the interval meets 0, so the claim cannot be told")
    return Verdict(claim, HOLDS, f"{clause}: so the claim holds here")


def _words(place: str) -> str:
    return f"the {place.replace('_', ' ')}"


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
