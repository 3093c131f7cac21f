"""The sections of the outlier-dimension study's page: each a few sentences, tables and charts of the pooled result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from dimscope.core.result import Number, Result, table
from dimscope.report import figures
from dimscope.report.page import Figure, Section, Table, file_name
from dimscope.report.tables import wide

Cell = tuple[str, str]
"""A model and a task."""

CLASSIFIERS = (
    "principal dimension",
    "full model",
    "majority class",
    "first principal component",
    "best linear direction",
    "best dimension",
    "random direction",
    "permuted labels",
)
"""The order in which classifiers are shown: what is claimed, then what it must be compared with."""

_HOW = (
    "Every model was fine-tuned once per seed. The threshold and direction of each one-dimensional classifier were "
    "learned on the training sentences and scored on held-out ones; the principal dimension is that of the largest "
    "variance over the training sentences. The best dimension is the one that did best in training, the best linear "
    "direction weighs all dimensions, and a random direction weighs them by chance. (grid) marks the paper's own rule, "
    "which tries thresholds in steps of 0.5 around the mean."
)


def averages(result: Result, name: str, **where: str) -> list[Number]:
    """The averages over seeds of that name, at that place."""
    wanted = {"statistic": "mean", **where}
    return [each for each in result.numbers if each.name == name and wanted.items() <= dict(each.where).items()]


def one_dimension(result: Result, cells: Sequence[Cell]) -> Section:
    """The claim beside its controls, after fine-tuning and before it."""
    tables = [
        _table(
            f"one_dimension_{weights}",
            _by_classifier(result, weights),
            ["classifier"],
            f"Accuracy on held-out sentences: classifiers on the states of the {weights} model.",
            columns="place",
        )
        for weights in ("fine-tuned", "pretrained")
    ]
    shown = _by_classifier(result, "fine-tuned")
    rows = pd.DataFrame(
        {"label": number.where["classifier"], "value": number.value, **number.ends, "group": _place(number)}
        for number in shown
    )
    caption = "Accuracy on held-out sentences after fine-tuning: the principal dimension beside every control."
    return Section(
        "What one dimension can do",
        [_HOW],
        tables,
        "Each dot is the accuracy of one classifier, and the bar through it the interval. The orange dot is ρ alone. "
        "The claim needs it level with the full model, and to the right of everything that knows nothing of ρ.",
        [Figure("one_dimension", figures.comparison(rows), caption)],
    )


def _by_classifier(result: Result, weights: str) -> list[Number]:
    """The accuracies of all classifiers in the order of `CLASSIFIERS`, the paper's rule named beside the exact one."""
    found = [each for each in averages(result, "accuracy", weights=weights) if "classifier" in each.where]
    found.sort(key=lambda each: CLASSIFIERS.index(str(each.where["classifier"])))
    return [replace(each, where={**each.where, "classifier": _title(each), "place": _place(each)}) for each in found]


def _table(name: str, numbers: Sequence[Number], rows: Sequence[str], caption: str, columns: str = "name") -> Table:
    """Numbers as a reader wants them, and in full precision in the file."""
    return Table(name, wide(numbers, rows, columns), caption, exact=table(numbers))


def _place(number: Number) -> str:
    return f"{number.where['model']}, {number.where['task']}"


def _title(number: Number) -> str:
    grid = " (grid)" if number.where.get("rule") == "grid" else ""
    return f"{number.where['classifier']}{grid}"


def variance(result: Result, cells: Sequence[Cell]) -> Section:
    """How the variance is spread over dimensions."""
    factor = result.settings["outliers"]["factor"]
    names = (
        "num_outlier_dims",
        "principal_variance_ratio",
        "outlier_variance_fraction",
        "participation_ratio",
    )
    numbers = [each for name in (*names, "num_constant_mean_dims") for each in averages(result, name)]
    shown = [each for each in numbers if "site" in each.where]
    where = [key for key in ("site", "token") if len({each.where[key] for each in shown}) > 1]
    described = _table("variance", shown, ["model", "task", "weights", *where], "Averages over seeds.")
    charts = []
    for model, task in cells:
        variance = result.arrays[f"{model}/{task}/variance"]
        mean = dict(zip(variance.ticks["weights"], variance.values.mean(axis=1), strict=True))
        title = f"Variance of every dimension: {model}, {task}"
        caption = "Each dimension's variance over the mean variance, largest first, averaged over seeds."
        charts.append(Figure(file_name("spectrum", model, task), figures.spectrum(mean, factor, title=title), caption))
    text = [
        "A constant-mean dimension is an outlier in another sense: its mean lies far from those of the others, however "
        "little it varies. The participation ratio says over how many dimensions the variance is spread."
    ]
    reading = (
        "Each dot is a dimension, the one that varies most at the left; both axes are logarithmic, so that equal steps "
        "are equal factors. Dots at or above the dashed line are outliers. A flat curve has none; a curve that "
        "starts high and drops at once has a few that stand alone."
    )
    return Section("Which dimensions vary", text, [described], reading, charts)


def profiles(result: Result, cells: Sequence[Cell]) -> Section:
    """The activation diagrams."""
    charts = []
    for model, task in cells:
        profile, outliers = (result.arrays[f"{model}/{task}/{name}"] for name in ("profile", "is_outlier"))
        rows = {
            weights: (values[0], values[1])
            for weights, values in zip(profile.ticks["weights"], profile.values, strict=True)
        }
        marked = np.flatnonzero(outliers.values[1].any(axis=0)).tolist()
        chart = figures.profile(rows, marked, title=f"Activation diagram: {model}, {task}")
        caption = (
            "Mean and standard deviation of every dimension over held-out sentences, their states averaged over seeds."
        )
        charts.append(Figure(file_name("activations", model, task), chart, caption))
    reading = (
        "From left to right, every dimension of the state: the line is its mean over sentences, the band one standard "
        "deviation to either side. A wide spike is a dimension that varies; a tall narrow one stands far off but says "
        "the same of every sentence. Points are the outliers after fine-tuning under any seed. Pointing at a dimension "
        "names it."
    )
    return Section("Activation diagrams", reading=reading, figures=charts)


def correlation(result: Result, cells: Sequence[Cell]) -> Section:
    """Whether what varies more knows more."""
    numbers = [
        each
        for name in ("variance_accuracy_correlation", "variance_accuracy_p_value")
        for each in averages(result, name)
    ]
    caption = "Averages over seeds; of a p-value too."
    described = _table("correlation", numbers, ["model", "task", "weights", "rule"], caption)
    charts = []
    for model, task in cells:
        accuracy, variance = (result.arrays[f"{model}/{task}/{name}"] for name in ("accuracy", "variance"))
        lines = {
            name: number.value
            for number in averages(result, "accuracy", model=model, task=task, weights="fine-tuned")
            if (name := number.where.get("classifier")) in ("full model", "majority class")
        }
        rules = dict(zip(accuracy.ticks["rule"], accuracy.values[1], strict=True))
        title = f"Do dimensions that vary more know more? {model}, {task}"
        chart = figures.variance_against_accuracy(variance.values[1].mean(axis=0), rules, lines, title=title)
        caption = "Every dimension of the fine-tuned model: its variance and its accuracy alone, averaged over seeds."
        charts.append(Figure(file_name("variance_accuracy", model, task), chart, caption))
    text = [
        "Spearman's correlation of variance with accuracy over dimensions, and its permutation p-value. The exact rule "
        "does not see the scale of a dimension; the paper's grid of absolute steps does, and handicaps what varies "
        "little."
    ]
    reading = (
        "Each point is a dimension: the farther right the more it varies, the higher the better it does the task "
        "alone. If variance told what a dimension knows, the points would rise to the right. The dashed lines are the "
        "full model and the majority class, between which a useful dimension lies."
    )
    return Section("Variance against accuracy", text, [described], reading, charts)


def persistence(result: Result, cells: Sequence[Cell]) -> Section:
    """What stays an outlier through fine-tuning, over tasks and seeds."""
    own = [each for name in _OVERLAP for each in averages(result, name)]
    across = [each for each in result.numbers if each.name in _ACROSS]
    tables = [
        _table(
            "persistence",
            own,
            ["model", "task"],
            "Outlier sets before and after fine-tuning, averages over seeds.",
        ),
        _table(
            "persistence_across",
            across,
            ["model", "weights"],
            "All tasks and seeds of a model against each other.",
        ),
    ]
    charts = []
    for model in dict.fromkeys(model for model, _ in cells):
        tasks = [task for name, task in cells if name == model]
        arrays = {task: result.arrays[f"{model}/{task}/is_outlier"] for task in tasks}
        labels = [
            f"{task}, {weights}, seed {seed}" if len(tasks) > 1 else f"{weights}, seed {seed}"
            for task, array in arrays.items()
            for weights in array.ticks["weights"]
            for seed in array.ticks["seed"]
        ]
        member = np.concatenate([array.values.reshape(-1, array.values.shape[-1]) for array in arrays.values()])
        chart = figures.persistence(member.astype(bool), labels, title=f"Which dimensions stay outliers: {model}")
        charts.append(Figure(file_name("persistence", model), chart, "Outlier dimensions by task, seed and weights."))
    text = ["Chance: sets of the same sizes drawn at random (hypergeometric for two sets, permutation for more)."]
    reading = (
        "A column for each dimension that is ever an outlier, a row for each model that was measured: a filled tile "
        "says that it is an outlier there. Columns that are filled from top to bottom are outliers that stay; columns "
        "that are filled in a few rows only come and go with training."
    )
    return Section("Persistence", text, tables, reading, charts)


_OVERLAP = (
    "num_outliers_before",
    "num_outliers_after",
    "num_shared",
    "num_shared_by_chance",
    "jaccard_score",
    "overlap_p_value",
    "variance_rank_correlation",
    "variance_rank_p_value",
)
_ACROSS = (
    "num_sets",
    "num_ever_outliers",
    "num_always_outliers",
    "mean_jaccard_score",
    "mean_jaccard_by_chance",
    "mean_jaccard_p_value",
)
