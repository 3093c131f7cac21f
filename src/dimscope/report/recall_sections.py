"""The sections of the factual-recall study's page: sentences, tables and charts of the pooled result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from dimscope.core.result import Number, Result, table
from dimscope.report.inside import attribution_bars, by_layer, dose_response, heat_map
from dimscope.report.page import Figure, Section, Table, file_name
from dimscope.report.recall_claims import CONTROLS, ELSEWHERE, named
from dimscope.report.tables import MISSING, cell, cell_of, wide
from dimscope.report.verdict import Verdict

Cell = tuple[str, str]
"""A model and a set of prompts."""

_PUBLISHED = {
    "A few heads act on the answer": "Heads specific to the task carry the topic from its place to the last token.",
    "They pass the subject on": "What these heads bring is the topic itself, such as 'France', not the answer.",
    "MLPs reweight what heads write": "The next MLP erases or amplifies what single heads wrote with equal weight.",
    "A vector of an MLP's own raises the answer": "A deep MLP adds a vector that turns the stream towards 'Paris'.",
    "The last layer lowers the answer": "In all models looked at, the last layer suppresses right predictions.",
    "Taking that back raises it": "With what suppresses them taken back, facts are recalled with more confidence.",
    "Noise in the data is the cause": "Not published: the question is ours.",
}
"""What Lv et al. 2024 (2403.19521) state of GPT-2 models, OPT 1.3B and Llama-2 7B, in our words, by claim."""


def accuracy(result: Result, cells: Sequence[Cell]) -> Section:
    """Whether the models do what the prompts ask for."""
    found = [each for place in cells for each in _of(result, "accuracy", place).numbers if each.name in _ACCURACY]
    shown = [each for each in found if each.where["text"] == "prompt"]
    rows = wide(shown, ["model", "task", "among"])
    text = [
        "The share of prompts that the model has right, among all words that it knows and among the four options of "
        "each prompt, beside chance. What happens inside a model that does not know the answer tells nothing."
    ]
    return Section("Does it know the facts?", text, [Table("accuracy", rows, "Accuracy.", exact=table(found))])


_ACCURACY = ("accuracy", "chance_accuracy")


def movers(result: Result, cells: Sequence[Cell]) -> Section:
    """Which heads act on the logits, where they look, and what they write."""
    rows, figures = [], []
    for model, task in cells:
        own, written = (_of(result, name, (model, task)) for name in ("movers", "reweighting"))
        rows += [{"model": model, "task": task, **_head_row(each, written)} for each in named(own, "patched_share")]
        if f"{model} on {task}, movers/share" not in result.arrays:
            continue
        values = result.arrays[f"{model} on {task}, movers/share"].values
        chart = heat_map(
            values[::-1],
            rows=[str(layer) for layer in reversed(range(len(values)))],
            columns=[str(head) for head in range(values.shape[1])],
            row_title="layer",
            column_title="head",
            measure="share",
            title=f"What each head sends to the logits: {model}, {task}",
        )
        caption = f"Share of the answer's change that each head sends to the logits directly: {model}, {task}."
        figures.append(Figure(file_name("heads", model, task), chart, caption))
    text = [
        "Another subject is put into the prompt, and what one head alone then writes is taken over into the run of the "
        "prompt, all other heads being held (path patching). A share of 1 would be the whole change of the answer. Of "
        "those heads that were looked at further, the table also tells how much they attend from the last token to the "
        "subject, and at which place among all words their output, read by itself, has the subject and the answer."
    ]
    caption = "The heads that send most, either way."
    tables = [Table("heads", pd.DataFrame(rows), caption)] if rows else []
    return Section("Heads that act on the answer", text, tables, "", figures)


def _head_row(number: Number, written: Result) -> dict[str, str]:
    head = f"{number.where['layer']}.{number.where['head']}"
    row = {"head": head, "share": cell_of(number)}
    looks = named(written, "attention_to_subject", head=head)
    ranks = {output: named(written, "median_rank", message=head, output=output) for output in ("subject", "answer")}
    above = named(written, "subject_above_answer_fraction", message=head)
    return {
        **row,
        "attention to the subject": _only(looks),
        **{f"median rank of the {output}": _only(found) for output, found in ranks.items()},
        "subject above answer": _only(above),
    }


def reweighting(result: Result, cells: Sequence[Cell]) -> Section:
    """How much of each MLP a weighted sum of the heads explains, the weights, and what its own vector does."""
    tables, figures = [], []
    for model, task in cells:
        found = _of(result, "reweighting", (model, task))
        if not found.numbers:
            continue
        caption = (
            f"Each MLP's output as a weighted sum of heads, subjects left out: {model}, {task}. Subjects can be "
            f"exchanged within the sentence in {found.value('exchangeable_fraction'):.0%} of the prompts."
        )
        frame = pd.DataFrame(_layer_row(found, layer) for layer in _layers(found, "r2_score"))
        tables.append(Table(file_name("reweighting", model, task), frame, caption, exact=table(found.numbers)))
        curves = _curves(found, "r2_score", "layer", {"fit": ("heads", *CONTROLS)})
        title = f"How much of each MLP the heads explain: {model}, {task}"
        caption = f"R² on subjects left out, by the layer of the MLP: {model}, {task}."
        chart = by_layer(curves, measure="R²", title=title)
        figures.append(Figure(file_name("reweighting", model, task), chart, caption))
    reading = (
        "R² is the share of an MLP's output, about its mean, that is explained for subjects which the fit never saw; "
        "below 0 the mean is better. A fit by other prompts' heads (scrambled prompts) should explain nothing. That by "
        "other subjects' heads in the same sentence (scrambled subjects) explains what is the sentence's doing: the "
        "subject's share is what lies above it. A weight near −1 erases what a head wrote, above 0 amplifies it; where "
        "the condition number is 30 or more, other weights would fit as well."
    )
    return Section("MLPs as weighted sums of heads", (), tables, reading, figures)


def _layer_row(found: Result, layer: int) -> dict[str, str]:
    fits = {each.where["fit"]: each for each in named(found, "r2_score", layer=layer)}
    weights = {f"weight of {each.where['head']}": cell_of(each) for each in named(found, "weight", layer=layer)}
    raised = {each.where["added"]: each for each in named(found, "raised_fraction", layer=layer)}
    return {
        "MLP of layer": str(layer),
        **{f"R², {name}": cell_of(fits[name]) for name in ("heads", *CONTROLS)},
        "cosine": cell(found.value("mean_cosine", layer=layer, fit="heads")),
        "cosine, its vector alone": cell(found.value("mean_cosine", layer=layer, fit="intercept alone")),
        "condition number": cell(found.value("condition_number", layer=layer)),
        "its vector raises the answer": cell_of(raised["intercept"]),
        "a random one does": cell_of(raised["random vector"]),
        **weights,
    }


def last_layer(result: Result, cells: Sequence[Cell]) -> Section:
    """The answer's probability by layer, what the last one changes, and which of its parts."""
    figures, changes = [], []
    for model in dict.fromkeys(model for model, _ in cells):
        tasks = {task: _of(result, "last layer", (model, task)) for name, task in cells if name == model}
        measured = {task: found for task, found in tasks.items() if found.numbers}
        if not measured:
            continue
        curves = pd.concat([_curves(found, "mean_probability", "layer", {}, task) for task, found in measured.items()])
        title = f"When the answer can be read: {model}"
        chart = by_layer(curves, measure="probability of the answer", title=title)
        caption = (
            f"The right answer's probability after each layer (−1: the embedding), through norm and head: {model}."
        )
        figures.append(Figure(file_name("probability", model), chart, caption))
        for task, found in measured.items():
            bars = attribution_bars(_bars(found), measure="nats", title=f"What the last layer does: {model}, {task}")
            caption = f"Each part's share in the change of the answer's log-probability: {model}, {task}."
            figures.append(Figure(file_name("last_layer", model, task), bars, caption))
    for name, prompts in (("last layer", "right ones"), ("last layer, all prompts", "all")):
        changes += [
            {"model": model, "task": task, "prompts": prompts, **_change_row(found)}
            for model, task in cells
            if (found := _of(result, name, (model, task))).numbers
        ]
    caption = "What the last layer changes about the right answer and about the word that was first before it."
    tables = [Table("last_layer", pd.DataFrame(changes), caption)] if changes else []
    reading = (
        "The change of the log-probability is shared out to the heads, the attention's bias and the MLP of the last "
        "layer, exactly, with the final norm's scale held; what the norm's own change does stands beside. Below zero a "
        "part takes from the answer."
    )
    return Section("The last layer", (), tables, reading, figures)


def _change_row(found: Result) -> dict[str, str]:
    return {
        f"{output}: {words}": cell_of(found.number(name, output=output))
        for output in ("answer", "first before")
        for words, name in (
            ("change of probability", "probability_change"),
            ("change of log-probability", "log_probability_change"),
            ("lowered in", "lowered_fraction"),
        )
    }


def _bars(found: Result) -> pd.DataFrame:
    shares = named(found, "mean_log_probability_share")
    rows = [{"label": each.where["part"], "value": each.value, **each.ends} for each in shares]
    return pd.DataFrame(rows)


def mitigation(result: Result, cells: Sequence[Cell]) -> Section:
    """Accuracy, probability and logit difference as the responsible part is made smaller."""
    rows, figures = [], []
    for model, task in cells:
        found = _of(result, "mitigation", (model, task))
        if not found.numbers:
            continue
        changes = named(found, "probability_change")
        rows += [{"model": model, "task": task, **_dose_row(found, each)} for each in changes]
        groups = {"scaled": (str(changes[0].where["scaled"]), ELSEWHERE)}
        whole = [{"dose": 0.0, "value": 0.0, "low": 0.0, "high": 0.0, "group": name} for name in groups["scaled"]]
        curves = pd.concat([pd.DataFrame(whole), _curves(found, "probability_change", "dose", groups)])
        title = f"Less of {groups['scaled'][0]}: {model}, {task}"
        chart = dose_response(curves, dose_title="γ", measure="change of probability", title=title, reference=0.0)
        caption = f"The right answer's probability as the part's output is multiplied by 1 − γ: {model}, {task}."
        figures.append(Figure(file_name("mitigation", model, task), chart, caption))
    text = [
        "The head or MLP of the last layer that takes most from the answer's log-probability writes less: its output "
        "times 1 − γ, at the last token. The prompts are drawn anew, and all of them count. As the control the same "
        "part of other layers is made smaller; its interval is from the least to the greatest of them."
    ]
    tables = [Table("mitigation", pd.DataFrame(rows), "Changes against the whole model, by dose γ.")] if rows else []
    return Section("Taking it back", text, tables, "", figures)


def _dose_row(found: Result, change: Number) -> dict[str, str]:
    where = {name: change.where[name] for name in ("scaled", "dose")}
    return {
        "scaled": str(where["scaled"]),
        "γ": cell(float(where["dose"])),
        **{
            metric.replace("_", " "): cell_of(found.number(f"{metric}_change", **where))
            for metric in ("accuracy", "probability", "log_probability", "logit_difference")
        },
    }


def published(judged: Mapping[Cell, Sequence[Verdict]]) -> Section:
    """What was published, statement by statement, and what was found here."""
    rows = [
        {
            "published": statement,
            "asked here as": claim,
            **{
                f"{model}, {task}": next((each.told for each in told if each.claim == claim), MISSING)
                for (model, task), told in judged.items()
            },
        }
        for claim, statement in _PUBLISHED.items()
    ]
    text = [
        "The statements are those of the paper about GPT-2 models, OPT 1.3B and Llama-2 7B, in our words: other "
        "models, and prompts of other wording. Its numbers were not recovered."
    ]
    caption = "Published statements and what was found here."
    return Section("Beside the published statements", text, [Table("published", pd.DataFrame(rows), caption)])


def _of(result: Result, name: str, place: Cell) -> Result:
    model, task = place
    return result.only(piece=name, model=model, task=task)


def _curves(
    found: Result, name: str, axis: str, groups: Mapping[str, Sequence[str]], group: str | None = None
) -> pd.DataFrame:
    """Give the rows of a chart over layers or doses, a group for each of these values of a part of the place."""
    ((key, values),) = groups.items() if groups else (("", ("",)),)
    rows = [
        {axis: each.where[axis], "value": each.value, **each.ends, "group": group or value}
        for value in values
        for each in named(found, name, **({key: value} if key else {}))
    ]
    return pd.DataFrame(rows)


def _layers(found: Result, name: str) -> list[int]:
    return sorted({int(each.where["layer"]) for each in named(found, name)})


def _only(numbers: Sequence[Number]) -> str:
    return cell_of(numbers[0]) if numbers else MISSING
