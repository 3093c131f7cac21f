"""The published numbers on reused circuits, of another model, beside those of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from dimscope.core.result import Number, Result
from dimscope.report.circuit_claims import PERCENT, Tasks, find, short
from dimscope.report.circuit_sections import CHOICES
from dimscope.report.page import Section, Table
from dimscope.report.tables import MISSING, cell_of

_PUBLISHED = {
    "accuracy, nothing forced": "49.6 %",
    "accuracy, inhibition heads and negative mover forced": "93.7 %",
    "accuracy, inhibition heads forced": "81.5 %",
    "accuracy, negative mover forced": "78.1 %",
    "right before and wrong when forced": "0",
    "change of the movers' attention to the wrong": "−8.7 % in all",
    "change of the movers' attention to the right": "+2.7 %",
    "top 2 % of the heads of each stage, shared": "25 of 32 (78 %)",
    "shared with other tasks": "greater than 3 of 18 (17 %), capitals 25 %",
    "accuracy, content gatherers blocked": "35 %, random heads 49.9 % ± 1.0",
    "rank correlation of effect and importance": "0.69",
    "of the top 10 heads, shared in larger models": "GPT-2 Large 5, XL 0",
}
"""GPT-2 Medium: Merullo, Eickhoff & Pavlick 2024 (2310.08744)."""


def beside_published(result: Result, models: Sequence[str]) -> Section:
    """The published numbers of another model, and ours."""
    rows = [
        {"quantity": name, "GPT-2 Medium (published)": value, **dict.fromkeys(models, MISSING)}
        for name, value in _PUBLISHED.items()
    ]
    frame = pd.DataFrame(rows).set_index("quantity")
    for model in models:
        for name, value in _own(result, model).items():
            frame.loc[name, model] = value
    text = [
        "The published numbers are another model's, on 1000 prompts with other words, found by code that freezes heads "
        "at one token, folds norms and takes the heads to force by hand. A dash is what was not measured here."
    ]
    return Section(
        "Beside the published numbers", text, [Table("published", frame.reset_index(), "Compare their size, no more.")]
    )


def _own(result: Result, model: str) -> Mapping[str, str]:
    own, tasks = _of_single_heads(result, model), Tasks.of(result.settings, model)
    for choice, words in CHOICES.items():
        found = result.only(part="intervention", model=model, choice=choice)
        if after := find(found, "accuracy", forced="chosen heads", among="outputs"):
            own[f"accuracy, {words} forced"] = _percent(after)
        if before := find(found, "accuracy", forced="nothing", among="outputs"):
            own["accuracy, nothing forced"] = _percent(before)
    of_all = result.only(part="intervention", model=model, choice="all")
    if wrong := find(of_all, "newly_wrong_fraction", among="outputs"):
        own["right before and wrong when forced"] = _percent(wrong)
    looks = [find(of_all, "watched_attention_change", place=place) for place in result.settings["force"]["toward"]]
    if all(looks):
        told = ", ".join(f"{100 * each.value:+.1f} %" for each in looks if each)
        own["change of the movers' attention to the wrong"] = f"{told}, each token"
    if right := find(of_all, "watched_attention_change", place="answer_color"):
        own["change of the movers' attention to the right"] = f"{100 * right.value:+.1f} %"
    shared = {task: _shared(result, model, task) for task in (tasks.reusing, *tasks.others)}
    own["top 2 % of the heads of each stage, shared"] = shared.pop(tasks.reusing)
    told = ", ".join(f"{short(task)} {value}" for task, value in shared.items() if value != MISSING)
    own["shared with other tasks"] = told or MISSING
    return own


def _of_single_heads(result: Result, model: str) -> dict[str, str]:
    own: dict[str, str] = {}
    blocked = result.only(part="blocking", model=model)
    if after := find(blocked, "accuracy", blocked="chosen heads", among="outputs"):
        random = _percent(blocked.number("accuracy", blocked="random heads", among="outputs"))
        own["accuracy, content gatherers blocked"] = f"{_percent(after)}, random heads {random}"
    if found := find(result.only(part="each head forced", model=model), "rank_correlation"):
        own["rank correlation of effect and importance"] = cell_of(found)
    return own


def _shared(result: Result, model: str, task: str) -> str:
    found = result.only(part="overlap", model=model, task=task, stage="all", percent=PERCENT)
    if not found.numbers:
        return MISSING
    num, shared = found.value("num_top_heads"), found.value("num_shared_heads")
    return f"{shared:.0f} of {num:.0f} ({shared / num:.0%})"


def _percent(number: Number) -> str:
    return f"{100 * number.value:.1f} %"
