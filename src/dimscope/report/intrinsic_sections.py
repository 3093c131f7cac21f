"""The sections of the intrinsic-dimension study's page: sentences, tables and charts of the pooled result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from dimscope.core.result import Result, table
from dimscope.report import figures
from dimscope.report.intrinsic_claims import WAYS, bracket, in_words, is_search, steps, ways
from dimscope.report.intrinsic_dimension import bracket_table, curve_table, curves
from dimscope.report.page import Figure, Section, Table, file_name
from dimscope.report.tables import MISSING, cell, wide
from dimscope.report.theme import ACCENT, Chart, themed

Cell = tuple[str, str]
"""A model and a task."""

SEARCHES = ("plain", "structure-aware", "random weights", "permuted labels")
"""In the order in which they are shown: what is claimed, then what it must be compared with."""
PUBLISHED = {
    ("BERT-base", "MRPC"): (1861, 1608),
    ("BERT-base", "QQP"): (9295, 8030),
    ("BERT-large", "MRPC"): (2493, 1037),
    ("BERT-large", "QQP"): (1389, 1200),
    ("RoBERTa-base", "MRPC"): (1000, 896),
    ("RoBERTa-base", "QQP"): (1389, 896),
    ("RoBERTa-large", "MRPC"): (322, 207),
    ("RoBERTa-large", "QQP"): (774, 774),
}
"""d90, plain and structure-aware: Aghajanyan, Zettlemoyer & Gupta 2020 (2012.13255)."""


def d_curves(result: Result, cells: Sequence[Cell]) -> Section:
    """How the accuracy rises with the number of trained numbers: every search in a panel of its own."""
    charts, tables = [], []
    for model, task in cells:
        found = searches(result, model, task)
        title = f"How many trained numbers it takes: {model}, {task}"
        caption = "Accuracy of d trained numbers, mean over seeds, with the best of the learning rates."
        charts.append(Figure(file_name("d_curve", model, task), curves(found, title), caption))
        tables.append(Table(file_name("d_curve", model, task), _tried(found), f"Every d tried: {model}, {task}."))
    reading = (
        "Each point is a number d of trained numbers and the accuracy that they reach; it passes at or above the line "
        "'to reach'. The shaded bracket lies between the largest d that failed and the smallest that passed. What is "
        "claimed is the first panel; random weights and permuted labels are what it must differ from. Accuracy for "
        "permuted labels is that on the training sentences, for those labels can only be learned by heart."
    )
    return Section("Accuracy against trained numbers", (), tables, reading, charts)


def _tried(found: Mapping[str, Result]) -> pd.DataFrame:
    rows = [curve_table(each) for each in found.values()]
    for name, each in zip(found, rows, strict=True):
        each.insert(0, "search", name)
    return pd.concat(rows, ignore_index=True).rename(columns={"learning_rate": "learning rate"})


def searches(result: Result, model: str, task: str) -> dict[str, Result]:
    """Give the searches that were finished, by name."""
    found = {name: result.only(part=name, model=model, task=task) for name in SEARCHES}
    return {name: each for name, each in found.items() if is_search(each)}


def beside_published(result: Result, cells: Sequence[Cell]) -> Section:
    """d90 of both forms, and what was published for other models and tasks."""
    own = [
        {
            "model": model,
            "task": task,
            "source": "this study",
            **{form: in_words(bracket(found[form])) if form in found else MISSING for form in SEARCHES[:2]},
        }
        for model, task in cells
        if (found := searches(result, model, task))
    ]
    published = [
        {"model": model, "task": task, "source": "published, other models and tasks", **_forms(numbers)}
        for (model, task), numbers in PUBLISHED.items()
    ]
    text = [
        "d90 is the smallest number of trained numbers that reaches the wanted share of the full model's accuracy; the "
        "structure-aware form spends one of them on a factor for each module. Published numbers are those of other "
        "models on other tasks, found with another random map, and on another grid: compare their size, no more."
    ]
    frame = pd.DataFrame([*own, *published])
    return Section("d90 beside the published table", text, [Table("d90", frame, "d90: ours is a bracket.")])


def _forms(numbers: tuple[int, int]) -> dict[str, str]:
    return {form: f"{number:,}" for form, number in zip(SEARCHES[:2], numbers, strict=True)}


def controls(result: Result, cells: Sequence[Cell]) -> Section:
    """Every search's levels and bracket, the controls beside what is claimed."""
    found = {
        f"{model}, {task}: {name}": each
        for model, task in cells
        for name, each in searches(result, model, task).items()
    }
    text = [
        "Each search has its own level to reach: a share of the accuracy of its own full model. Random weights are "
        "those that the model's own initializer draws. For permuted labels all accuracies are on the training data."
    ]
    caption = "Accuracies of the full model, to reach and of the majority class, and the bracket."
    return Section("Controls", text, [Table("brackets", bracket_table(found), caption)])


def pretraining(result: Result, tasks: Sequence[str]) -> Section | None:
    """d90 against steps of pretraining, of a small encoder; none if there was none."""
    found = {task: series for task in tasks if steps(series := result.only(part="small encoder", task=task))}
    if not found:
        return None
    tables, charts = [], []
    for task, series in found.items():
        by_step = {step: series.only(part="small encoder", step=step) for step in steps(series)}
        losses = [each.value("masked_loss") for each in by_step.values()]
        frame = bracket_table({str(step): each for step, each in by_step.items()}).rename(columns={"name": "step"})
        frame.insert(1, "masked loss", losses)
        caption = f"A small encoder pretrained on the texts of {task}, by steps; its masked loss in nats."
        tables.append(Table(file_name("pretraining", task), frame, caption))
        title = f"Trained numbers by steps of pretraining: {task}"
        caption = "The bracket of d90 from each kept step of the same pretraining."
        charts.append(Figure(file_name("pretraining", task), by_steps(by_step, title), caption))
    reading = (
        "Each bar reaches from the largest d that failed (hollow dot) to the smallest that passed (full dot); without "
        "a hollow one all that was tried passed, without a full one nothing did. The published claim is that the bars "
        "fall from left to right. Every step has its own level to reach, so look at the full model in the table first: "
        "where it learned little, there is little to reach."
    )
    return Section("d90 against pretraining", (), tables, reading, charts)


def by_steps(searched: Mapping[int, Result], title: str) -> Chart:
    """Give the bracket of every step as a bar; an open end lies at the end of what was tried, without a dot."""
    rows = pd.DataFrame(_ends(step, search) for step, search in searched.items())
    place = alt.Chart(rows, height=240).encode(
        x=alt.X("step:O", title="steps of pretraining", axis=alt.Axis(labelAngle=0))
    )
    scale = alt.Scale(type="log")
    bar = place.mark_bar(opacity=0.25, color=ACCENT, size=16).encode(
        y=alt.Y("low:Q", title="trained numbers d", scale=scale), y2="high:Q"
    )
    ends = [
        place.mark_point(filled=end == "passing", size=50, opacity=1, color=ACCENT).encode(
            y=alt.Y(f"{end}:Q", scale=scale), tooltip=["step:O", f"{end}:Q"]
        )
        for end in ("failing", "passing")
    ]
    description = f"Bracket of d90 after {', '.join(map(str, searched))} steps of pretraining."
    return themed(bar + ends[0] + ends[1], title, description)


def _ends(step: int, search: Result) -> dict[str, float]:
    tried = curve_table(search)["d"]
    found = bracket(search)
    failing, passing = (math.nan if end is None else end for end in (found.failing, found.passing))
    low = tried.min() if found.failing is None else failing
    high = tried.max() if found.passing is None else passing
    return {"step": step, "low": low, "high": high, "failing": failing, "passing": passing}


def bound(result: Result, cells: Sequence[Cell]) -> Section:
    """The bound beside the error and the gap that were measured, and beside a constant answer's error."""
    numbers = [
        each
        for model, task in cells
        for each in result.only(part="bound", model=model, task=task).numbers
        if each.name in _BOUND and each.where.get("bits", 32) == 32
    ]
    text = [
        "As many numbers as passed were trained once more and rounded to a few bits each; that few bits describe the "
        "model bounds its error on new sentences, whatever the training did. The gap is the held-out error less the "
        "training error. d was found by looking at held-out sentences of the same data, among some that were tried: "
        "strictly, each of those is to be paid for."
    ]
    frame = wide(numbers, ["model", "task"]) if numbers else _nothing(cells)
    described = Table("bound", frame, "Errors as trained, the bound, and its control.", exact=table(numbers))
    return Section("The compression bound and the measured gap", text, [described])


_BOUND = (
    "num_trained",
    "best_num_bits",
    "train_error",
    "validation_error",
    "gap",
    "relative_gap",
    "best_error_bound",
    "majority_error",
)


def other_ways(result: Result, cells: Sequence[Cell]) -> Section:
    """As many trained numbers spent elsewhere, each beside the random subspace of as many."""
    pairs = [
        (model, task, way, pair)
        for model, task in cells
        for way in WAYS
        if (pair := ways(result, way, model, task)) is not None
    ]
    text = [
        "Low-rank adapters of rank 1 in the attention, every bias, the head alone and the last block, the head always "
        "with them; and a random subspace of the moved parameters with as many numbers. Both had several learning "
        "rates under the first seed, and the best of them under the others."
    ]
    if not pairs:
        return Section("The same number of trained parameters elsewhere", ["No other way was measured."])
    levels = {place: searches(result, *place)["plain"] for place in cells}
    rows = [
        {
            "model": model,
            "task": task,
            "trained": WAYS[way],
            "numbers": int(own.where["num_trained"]),
            "accuracy": own.value,
            **own.ends,
            "random subspace": subspace.value,
            **{f"random subspace, {end}": value for end, value in subspace.ends.items()},
            "full model": levels[model, task].value("accuracy", training="full"),
            "majority class": levels[model, task].value("majority_accuracy"),
        }
        for model, task, way, (own, subspace) in pairs
    ]
    shown = [
        {"label": label, "value": each.value, **each.ends, "group": f"{model}, {task}: {WAYS[way]}"}
        for model, task, way, (own, subspace) in pairs
        for label, each in (("random subspace", subspace), ("chosen parameters", own))
    ]
    chart = figures.comparison(pd.DataFrame(shown), title="As many numbers, at random and chosen")
    exact = pd.DataFrame(rows)
    folded = exact.assign(
        **{
            "accuracy": [cell(own.value, own.interval) for *_, (own, _) in pairs],
            "random subspace": [cell(subspace.value, subspace.interval) for *_, (_, subspace) in pairs],
        }
    ).drop(columns=["low", "high", "random subspace, low", "random subspace, high"])
    caption = "Accuracy on held-out sentences, mean over seeds, with the interval of as many sentences."
    reading = (
        "In each panel the orange dot is a random subspace, the other one the parameters that the panel names; both "
        "trained the same number of numbers. Where the bars through them overlap, it is not shown that place matters."
    )
    return Section(
        "The same number of trained parameters elsewhere",
        text,
        [Table("ways", folded, caption, exact=exact)],
        reading,
        [Figure("ways", chart, caption)],
    )


def _nothing(cells: Sequence[Cell]) -> pd.DataFrame:
    return pd.DataFrame([{"model": model, "task": task, "bound": "not measured"} for model, task in cells])
