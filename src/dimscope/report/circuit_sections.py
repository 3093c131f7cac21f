"""The sections of the circuit-reuse study's page: sentences, tables and charts of the pooled result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from dimscope.core.result import Number, Result, table
from dimscope.report import figures, inside
from dimscope.report.circuit_claims import Tasks, find, short
from dimscope.report.page import Figure, Section, Table, file_name
from dimscope.report.tables import MISSING, cell, wide

CHOICES = {
    "all": "inhibition heads and negative mover",
    "inhibition heads": "inhibition heads",
    "negative mover": "negative mover",
}
"""What is forced, as a reader calls it; what is claimed comes first."""


def tasks_done(result: Result, models: Sequence[str]) -> Section:
    """Accuracy of every task with chance beside."""
    names = ("accuracy", "chance_accuracy", "constant_accuracy", "mean_logit_difference")
    numbers = [
        each
        for model in models
        for each in result.only(part="accuracy", model=model).numbers
        if each.name in names and each.where["text"] == "prompt"
    ]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for each in numbers:
        among = {"outputs": ", vocabulary", "options": ", options"}.get(str(each.where.get("among")), "")
        heading = each.name.replace("_", " ").removeprefix("mean ") + among
        row = rows.setdefault((str(each.where["model"]), short(str(each.where["task"]))), {})
        row[heading] = cell(each.value, each.interval)
    frame = pd.DataFrame([{"model": model, "task": task, **row} for (model, task), row in rows.items()])
    text = [
        "A task is taken to be done if its accuracy among the options (the names or colors that the prompt leaves to "
        "choose from) is 10 points above chance. Of a task that is not done there is no circuit to be found: what is "
        "shown of it further down comes from the prompts that happened to be right."
    ]
    caption = "Accuracy of the prompts, with Wilson's interval; what chance and the best constant answer give."
    return Section("Are the tasks done?", text, [Table("accuracy", frame, caption, exact=table(numbers))])


def circuits(result: Result, models: Sequence[str]) -> Section:
    """The stages' heat maps, the graph, and the heads that were kept."""
    charts: list[Figure] = []
    kept: list[Number] = []
    for model in models:
        tasks = Tasks.of(result.settings, model)
        for task in (tasks.known, tasks.reusing, *tasks.others):
            found = result.only(part="circuit", model=model, task=task)
            kept += [each for each in found.numbers if each.name == "patched_share" and _is_kept(each, result)]
            if task not in tasks.others:
                charts += _drawn(result, found, model, task)
    rows = [
        {
            "model": each.where["model"],
            "task": short(str(each.where["task"])),
            "stage": _stage(result, int(each.where["stage"])),
            "head": f"{each.where['layer']}.{each.where['head']}",
            "share": cell(each.value, each.interval),
        }
        for each in kept
    ]
    text = [
        "The circuit is found backwards. A head's share is how much of the answer's change, from the prompt's to the "
        "counterfactual's, comes about when this head alone sends what it has in the counterfactual, along paths that "
        "lead through no other head. In the first stage paths end in the logits; in the next ones they end in the "
        "strongest heads of the stage before. A positive share helps the answer; a head with a negative one works "
        "against it."
    ]
    reading = (
        "In a heat map every tile is a head; layers from which no path can lead are empty. In a graph information "
        "flows upwards, and a line's width is what the lower head sends to the upper one alone."
    )
    frame = pd.DataFrame(rows, columns=["model", "task", "stage", "head", "share"])
    caption = "The strongest heads of every stage, in whose inputs the next stage's paths end; Student's interval."
    return Section("The circuits, stage by stage", text, [Table("heads", frame, caption, table(kept))], reading, charts)


def _is_kept(number: Number, result: Result) -> bool:
    return (
        int(number.where["rank"]) <= result.settings["num_kept"] and "sender" not in number.where and number.value != 0
    )


def _drawn(result: Result, found: Result, model: str, task: str) -> list[Figure]:
    """Give a heat map for each stage, and the graph."""
    charts = []
    about = f"{model}, {short(task)}"
    for each in (number for number in found.numbers if number.name == "reach"):
        stage = int(each.where["stage"])
        shares = result.arrays[f"{model} on {task}, circuit/stage {stage}"].values.copy()
        shares[int(each.value) :] = np.nan
        layers, heads = (list(map(str, range(size))) for size in shares.shape)
        title = f"Stage {_stage(result, stage)}: {about}"
        chart = inside.heat_map(
            shares,
            rows=layers,
            columns=heads,
            row_title="layer",
            column_title="head",
            measure="share",
            title=title,
        )
        charts.append(Figure(file_name("stage", str(stage), model, task), chart, f"{title}. Share of every head."))
    edges = [each for each in found.numbers if each.name == "edge_share" and each.value != 0]
    if edges:
        rows = [{"sender": e.where["sender"], "receiver": e.where["receiver"], "score": e.value} for e in edges]
        chart = inside.circuit_graph(pd.DataFrame(rows), title=f"The circuit: {about}")
        charts.append(Figure(file_name("circuit", model, task), chart, f"The heads that were kept: {about}."))
    return charts


def _stage(result: Result, stage: int) -> str:
    """Name a stage by where its paths end."""
    if stage == 1:
        return "1, to the logits"
    parts = " and ".join(
        {"q": "queries", "k": "keys", "v": "values"}[each] for each in result.settings["inputs"][stage - 2]
    )
    return f"{stage}, to the {parts} of stage {stage - 1}"


def overlap(result: Result, models: Sequence[str]) -> Section:
    """How many of the top heads of two circuits are the same, beside chance."""
    known = short(result.settings["tasks"][0])
    numbers = [each for model in models for each in result.only(part="overlap", model=model).numbers]
    shown = [each for each in numbers if each.name in _OVERLAP]
    text = [
        f"The top heads of every stage, by the size of their share, of the circuit of {known} and of that "
        "of another task. By chance: two sets of these sizes drawn at random from all heads from which a path can lead "
        "in both tasks; within layers: drawn so that each layer keeps its number, for heads of some layers matter in "
        "any task. The p-value is the probability that random sets share as many."
    ]
    if not shown:
        return Section("Shared heads", [*text, "No two circuits were found."])
    by_task = [replace(each, where={**each.where, "task": short(str(each.where["task"]))}) for each in shown]
    frame = wide(by_task, ["model", "task", "stage", "percent"]).rename(columns={"percent": "top heads, %"})
    charts = [
        Figure(
            file_name("overlap", model),
            inside.dose_response(
                rows,
                dose_title="top heads of each stage, %",
                measure="share of them that is in both",
                title=f"Heads shared with {known}: {model}",
            ),
            "Share of the top heads, all stages together, that are in both circuits; chance with the middle 95 %.",
        )
        for model in models
        if len(rows := _curves(result.only(part="overlap", model=model), Tasks.of(result.settings, model)))
    ]
    caption = f"Heads shared with the circuit of {known}; stage 'all' adds the stages up."
    reading = "The claim needs the orange line above that of other tasks, and all of it above the band of chance."
    return Section("Shared heads", text, [Table("overlap", frame, caption, exact=table(numbers))], reading, charts)


_OVERLAP = (
    "num_top_heads",
    "num_shared_heads",
    "shared_by_chance",
    "shared_p_value",
    "shared_by_chance_within_layers",
    "shared_p_value_within_layers",
    "jaccard_score",
    "jaccard_by_chance",
)


def _curves(found: Result, tasks: Tasks) -> pd.DataFrame:
    pooled = found.only(part="overlap", stage="all")
    rows = []
    for task in (tasks.reusing, *tasks.others):
        own = [each for each in pooled.numbers if each.where["task"] == task]
        rows += [_point(each, each.value, None, short(task)) for each in own if each.name == "shared_fraction"]
    for each in pooled.numbers:
        if each.name == "shared_by_chance" and each.where["task"] == tasks.reusing:
            num = pooled.value("num_top_heads", task=tasks.reusing, percent=each.where["percent"])
            rows.append(_point(each, each.value / num, [end / num for end in each.interval or ()], "by chance"))
    return pd.DataFrame(rows)


def _point(number: Number, value: float, interval: Sequence[float] | None, group: str) -> dict[str, float | str]:
    low, high = interval or (math.nan, math.nan)
    return {"dose": float(number.where["percent"]), "value": value, "low": low, "high": high, "group": group}


def intervention(result: Result, models: Sequence[str]) -> Section:
    """The second task's accuracy before and after, beside random heads."""
    rows, shown = [], []
    known, reusing = map(short, result.settings["tasks"])
    for model in models:
        for choice, words in CHOICES.items():
            found = result.only(part="intervention", model=model, choice=choice)
            if found.numbers:
                rows.append(_row(found, model, words))
                shown += _dots(found, model, choice, words)
    text = [
        f"In prompts of {reusing}, heads of the circuit of {known} are made to look from the "
        f"last token at {' and '.join(result.settings['force']['toward'])}, the wrong answers, in equal shares and at "
        "nothing else. On the first task inhibition heads look at the name that is not to be said; if they do the same "
        "job here, the mover heads that they tell of it turn to the right answer. All prompts are asked. The control "
        "is as many random other heads of the same layers."
    ]
    if not rows:
        return Section("The second task repaired", [*text, "No heads were forced."])
    order = {word: place for place, word in enumerate([*CHOICES.values(), "random heads", "nothing forced"])}
    frame = pd.DataFrame(shown).sort_values("label", key=lambda labels: labels.map(order), kind="stable")
    chart = figures.comparison(frame, measure="accuracy", title="Before and after")
    caption = f"Accuracy on {reusing}; Wilson's interval, of random heads that of 95 % of the draws."
    exact = [each for model in models for each in result.only(part="intervention", model=model).numbers]
    reading = (
        "Orange is what is claimed to repair the task. It must lie right of both, nothing forced and random heads."
    )
    return Section(
        "The second task repaired",
        text,
        [Table("intervention", pd.DataFrame(rows), caption, exact=table(exact))],
        reading,
        [Figure("intervention", chart, caption)],
    )


def _row(found: Result, model: str, words: str) -> dict[str, str]:
    heads = find(found, "num_forced_heads")
    row = {"model": model, "forced": words, "heads": str(heads.where["heads"]) if heads else MISSING}
    for among, title in (("outputs", "vocabulary"), ("options", "options")):
        for what, said in (("nothing", "before"), ("chosen heads", "after"), ("random heads", "random heads")):
            number = found.number("accuracy", forced=what, among=among)
            row[f"{said}, {title}"] = cell(number.value, number.interval)
    number = found.number("newly_wrong_fraction", among="outputs")
    return {**row, "right before, wrong after": cell(number.value, number.interval)}


def _dots(found: Result, model: str, choice: str, words: str) -> list[dict[str, str | float]]:
    labels = {"chosen heads": words}
    if choice == next(iter(CHOICES)):
        labels |= {"random heads": "random heads", "nothing": "nothing forced"}
    dots: list[dict[str, str | float]] = []
    for among, group in (("outputs", "vocabulary"), ("options", "options")):
        for what, label in labels.items():
            number = found.number("accuracy", forced=what, among=among)
            dots.append({"label": label, "group": f"{model}, {group}", "value": number.value, **number.ends})
    return dots


def attention(result: Result, models: Sequence[str]) -> Section | None:
    """What the mover heads look at, before and after; none if they were not watched."""
    numbers = [
        each
        for model in models
        for each in result.only(part="intervention", model=model, choice="all").numbers
        if each.name.startswith("watched_attention")
    ]
    if not numbers:
        return None
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for each in numbers:
        heading = {"nothing": "before", "chosen heads": "after"}.get(str(each.where.get("forced")), "change")
        row = rows.setdefault((str(each.where["model"]), str(each.where["place"]).replace("_", " ")), {})
        row[heading] = cell(each.value, each.interval)
    frame = pd.DataFrame([{"model": model, "token": token, **row} for (model, token), row in rows.items()])
    text = [
        "The share of their attention that the mover heads of the first task (those that help its answer most) give to "
        "tokens of the second one's question, averaged over these heads."
    ]
    caption = "Attention from the last token, before and after all heads are forced; Student's interval over prompts."
    return Section("What the mover heads look at", text, [Table("attention", frame, caption, exact=table(numbers))])
