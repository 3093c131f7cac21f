"""The page of the outlier-dimension study, out of its pooled result alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from dimscope.core.result import Number, Result
from dimscope.report import figures
from dimscope.report.page import Figure, Page, Section, Table
from dimscope.report.tables import cell, wide

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

_QUESTION = (
    "After fine-tuning, does one dimension of the sentence state, with one threshold, do the task as well as the whole "
    "model? Do the dimensions that vary most before fine-tuning still do so after it?"
)
_HOW = (
    "Every model was fine-tuned once per seed. The threshold and direction of each one-dimensional classifier were learned "
    "on the training sentences and scored on held-out ones. ρ is the dimension of the largest variance over the training "
    "sentences; a dimension is an outlier if its variance is at least {factor:g} times the mean variance."
)


def page(result: Result) -> Page:
    """Lay the pooled result of the study out: question, answers, controls, diagrams, ablations, provenance."""
    places = _places(result)
    return Page(
        title="Outlier dimensions",
        question=_QUESTION,
        answers=[sentence for place in places for sentence in _answers(result, *place)],
        sections=[
            _one_dimension(result, places),
            _variance(result, places),
            _profiles(result, places),
            _correlation(result, places),
            _persistence(result),
            _ablation(result, places),
        ],
        caveats=[*result.notes, *_CAVEATS],
        settings=result.settings,
        provenance=result.provenance,
        sources=result.sources,
    )


_CAVEATS = (
    "The tables of the paper were not recovered; its qualitative claims are what is compared with, and no published number is shown.",
    "A single dimension that does as well as ρ, a principal component or a random direction that comes close, all say "
    "that the label is spread over the state and not held in ρ: read the controls before the claim.",
    "Intervals over several seeds are Student's, of the mean; with one seed they are Wilson's, over sentences. "
    "Those of random directions, permuted labels and random dimensions hold 95 % of the draws.",
)


def _places(result: Result) -> list[tuple[str, str]]:
    """Every model and task, in the order of the study."""
    places = [
        (str(each.where["model"]), str(each.where["task"]))
        for each in result.numbers
        if each.name == "last_loss"
    ]
    return list(dict.fromkeys(places))


def _averages(result: Result, name: str, **where: str) -> list[Number]:
    """The averages over seeds of that name, at that place."""
    wanted = {"statistic": "mean", **where}
    return [
        each for each in result.numbers if each.name == name and wanted.items() <= dict(each.where).items()
    ]


def _answers(result: Result, model: str, task: str) -> Iterator[str]:
    place = {"model": model, "task": task, "weights": "fine-tuned"}
    by_name = {
        str(each.where["classifier"]): each
        for each in _averages(result, "accuracy", **place)
        if each.where.get("rule", "exact") == "exact" and "classifier" in each.where
    }
    told = {name: cell(each.value, each.interval) for name, each in by_name.items()}
    yield (
        f"{model} on {task}: the principal dimension alone classifies {told['principal dimension']} of the held-out sentences "
        f"rightly, the full model {told['full model']}, always answering the majority class {told['majority class']}."
    )
    as_good = _averages(result, "num_dims_as_good_as_principal", **place)[0]
    yield (
        f"The controls: the first principal component {told['first principal component']}, the best linear direction "
        f"{told['best linear direction']}, a random direction {told['random direction']}; "
        f"{as_good.value:.0f} other single dimensions do at least as well as the principal one."
    )
    before, after = (
        _averages(result, "num_outlier_dims", model=model, task=task, weights=weights)[0].value
        for weights in ("pretrained", "fine-tuned")
    )
    shared = _averages(result, "num_shared", model=model, task=task)[0]
    yield (
        f"Outlier dimensions: {before:.1f} before fine-tuning and {after:.1f} after it (mean over seeds), "
        f"of which {shared.value:.1f} are the same."
    )


def _one_dimension(result: Result, places: Sequence[tuple[str, str]]) -> Section:
    """The claim beside its controls, after fine-tuning and before it."""
    tables = [
        Table(
            f"one_dimension_{weights}",
            wide(_by_classifier(result, weights), rows=["model", "task"], columns="classifier"),
            f"Accuracy on held-out sentences: classifiers on the states of the {weights} model.",
        )
        for weights in ("fine-tuned", "pretrained")
    ]
    shown = _by_classifier(result, "fine-tuned")
    rows = pd.DataFrame(
        {
            "label": [number.where["classifier"] for number in shown],
            "value": [number.value for number in shown],
            "low": [number.interval[0] if number.interval else np.nan for number in shown],
            "high": [number.interval[1] if number.interval else np.nan for number in shown],
            "group": [f"{number.where['model']}, {number.where['task']}" for number in shown],
        }
    )
    chart = figures.comparison(rows)
    caption = "Accuracy on held-out sentences after fine-tuning: the principal dimension beside every control."
    how = _HOW.format(factor=result.settings["outliers"]["factor"])
    return Section("What one dimension can do", [how], tables, [Figure("one_dimension", chart, caption)])


def _by_classifier(result: Result, weights: str) -> list[Number]:
    """The accuracies of all classifiers in the order of `CLASSIFIERS`, the paper's rule named beside the exact one."""
    found = [each for each in _averages(result, "accuracy", weights=weights) if "classifier" in each.where]
    found.sort(key=lambda each: CLASSIFIERS.index(str(each.where["classifier"])))
    return [replace(each, where={**each.where, "classifier": _title(each)}) for each in found]


def _title(number: Number) -> str:
    grid = " (paper's grid)" if number.where.get("rule") == "grid" else ""
    return f"{number.where['classifier']}{grid}"


def _variance(result: Result, places: Sequence[tuple[str, str]]) -> Section:
    """How the variance is spread over dimensions."""
    factor = result.settings["outliers"]["factor"]
    names = ("num_outlier_dims", "principal_variance_ratio", "outlier_variance_fraction", "participation_ratio")
    numbers = [each for name in (*names, "num_constant_mean_dims") for each in _averages(result, name)]
    shown = [each for each in numbers if "site" in each.where]
    frame = wide(shown, rows=["model", "task", "weights", "site", "token"])
    charts = []
    for model, task in places:
        variance = result.arrays[f"{model}/{task}/variance"]
        mean = dict(zip(variance.ticks["weights"], variance.values.mean(axis=1), strict=True))
        title = f"Variance of every dimension: {model}, {task}"
        caption = "Each dimension's variance over the mean variance, largest first, averaged over seeds."
        charts.append(Figure(_file("spectrum", model, task), figures.spectrum(mean, factor, title=title), caption))
    text = [
        "A constant-mean dimension is an outlier in another sense: its mean lies far from those of the others, however "
        "little it varies. The participation ratio says over how many dimensions the variance is spread."
    ]
    return Section("Which dimensions vary", text, [Table("variance", frame, "Averages over seeds.")], charts)


def _profiles(result: Result, places: Sequence[tuple[str, str]]) -> Section:
    """The activation diagrams."""
    charts = []
    for model, task in places:
        profile, outliers = (result.arrays[f"{model}/{task}/{name}"] for name in ("profile", "is_outlier"))
        rows = {
            weights: (values[0], values[1])
            for weights, values in zip(profile.ticks["weights"], profile.values, strict=True)
        }
        marked = np.flatnonzero(outliers.values[1].any(axis=0)).tolist()
        chart = figures.profile(rows, marked, title=f"Activation diagram: {model}, {task}")
        caption = (
            "Mean and standard deviation of every dimension over held-out sentences, whose states were averaged over seeds."
        )
        charts.append(Figure(_file("activations", model, task), chart, caption))
    return Section("Activation diagrams", [], [], charts)


def _correlation(result: Result, places: Sequence[tuple[str, str]]) -> Section:
    """Whether what varies more knows more."""
    numbers = [
        each
        for name in ("variance_accuracy_correlation", "variance_accuracy_p_value")
        for each in _averages(result, name)
    ]
    frame = wide(numbers, rows=["model", "task", "weights", "rule"])
    charts = []
    for model, task in places:
        accuracy, variance = (result.arrays[f"{model}/{task}/{name}"] for name in ("accuracy", "variance"))
        lines = {
            name: number.value
            for number in _averages(result, "accuracy", model=model, task=task, weights="fine-tuned")
            if (name := number.where.get("classifier")) in ("full model", "majority class")
        }
        rules = dict(zip(accuracy.ticks["rule"], accuracy.values[1], strict=True))
        title = f"Do dimensions that vary more know more? {model}, {task}"
        chart = figures.variance_against_accuracy(variance.values[1].mean(axis=0), rules, lines, title=title)
        caption = "Every dimension of the fine-tuned model: its variance and its accuracy alone, averaged over seeds."
        charts.append(Figure(_file("variance_accuracy", model, task), chart, caption))
    text = [
        "Spearman's correlation of variance with accuracy over dimensions, and its permutation p-value. The exact rule does "
        "not see the scale of a dimension; the paper's grid of absolute steps does, and handicaps what varies little."
    ]
    caption = "Averages over seeds; of a p-value too."
    return Section("Variance against accuracy", text, [Table("correlation", frame, caption)], charts)


def _persistence(result: Result) -> Section:
    """What stays an outlier through fine-tuning, over tasks and seeds."""
    own = [each for name in _OVERLAP for each in _averages(result, name)]
    across = [each for each in result.numbers if each.name in _ACROSS]
    tables = [
        Table("persistence", wide(own, rows=["model", "task"]), "Outlier sets before and after fine-tuning, averages over seeds."),
        Table("persistence_across", wide(across, rows=["model", "weights"]), "All tasks and seeds of a model against each other."),
    ]
    charts = []
    for model in dict.fromkeys(model for model, _ in _places(result)):
        tasks = [task for name, task in _places(result) if name == model]
        arrays = {task: result.arrays[f"{model}/{task}/is_outlier"] for task in tasks}
        labels = [
            f"{task}, {weights}, seed {seed}"
            for task, array in arrays.items()
            for weights in array.ticks["weights"]
            for seed in array.ticks["seed"]
        ]
        member = np.concatenate([array.values.reshape(-1, array.values.shape[-1]) for array in arrays.values()])
        chart = figures.persistence(member.astype(bool), labels, title=f"Which dimensions stay outliers: {model}")
        charts.append(Figure(_file("persistence", model), chart, "Outlier dimensions by task, seed and weights."))
    text = ["Chance: sets of the same sizes drawn at random (hypergeometric for two sets, permutation for more)."]
    return Section("Persistence", text, tables, charts)


_OVERLAP = ("num_outliers_before", "num_outliers_after", "num_shared", "num_shared_by_chance", "jaccard_score", "overlap_p_value")
_ACROSS = ("num_sets", "num_ever_outliers", "num_always_outliers", "mean_jaccard_score", "mean_jaccard_by_chance", "mean_jaccard_p_value")


def _ablation(result: Result, places: Sequence[tuple[str, str]]) -> Section:
    """What the classifier loses without them."""
    numbers = [each for each in _averages(result, "accuracy") if "ablated" in each.where]
    frame = wide(numbers, rows=["model", "task", "place", "fill"], columns="ablated")
    charts = []
    for model, task in places:
        own = [each for each in numbers if (each.where["model"], each.where["task"]) == (model, task)]
        intact = {each.where["place"]: each.value for each in own if each.where["ablated"] == "nothing"}
        rows = pd.DataFrame(
            {
                "ablated": str(each.where["ablated"]),
                "site": f"{each.where['place']}, {each.where['fill']}",
                "value": each.value,
                "low": each.interval[0] if each.interval else np.nan,
                "high": each.interval[1] if each.interval else np.nan,
                "reference": intact[each.where["place"]],
            }
            for each in own
            if each.where["ablated"] != "nothing"
        )
        chart = figures.ablation(rows, title=f"What is lost without them: {model}, {task}")
        charts.append(Figure(_file("ablation", model, task), chart, "Accuracy after dimensions lost what they say."))
    text = [
        "Dimensions were set to their mean, to their value in another sentence, or to zero, at the final state or after every "
        "layer (there on fewer sentences). Zero also moves the state to where no sentence lies; read the others first."
    ]
    return Section("Ablations", text, [Table("ablation", frame, "Accuracy, averages over seeds.")], charts)


def _file(*parts: str) -> str:
    return "-".join(part.replace("/", "_") for part in parts)
