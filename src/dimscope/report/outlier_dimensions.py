"""The page of the outlier-dimension study, out of its pooled result alone."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from dimscope.core.result import Number, Result
from dimscope.report import claims, outlier_ablation, outlier_rho
from dimscope.report import outlier_sections as sections
from dimscope.report.page import Page
from dimscope.report.verdict import verdict_table


def page(result: Result) -> Page:
    """Lay the pooled result of the study out: question, answers, controls, diagrams, ablations, provenance."""
    result = replace(result, numbers=[_within_bounds(number) for number in result.numbers])
    cells = models_and_tasks(result)
    judged = {cell: claims.verdicts(result, *cell) for cell in cells}
    return Page(
        title="Outlier dimensions",
        question=_QUESTION,
        introduction=[text.format(factor=result.settings["outliers"]["factor"]) for text in _INTRODUCTION],
        verdicts=verdict_table(judged),
        answers={f"{model} on {task}": claims.sentences(told) for (model, task), told in judged.items()},
        sections=[
            sections.one_dimension(result, cells),
            sections.variance(result, cells),
            sections.profiles(result, cells),
            sections.correlation(result, cells),
            sections.persistence(result, cells),
            outlier_ablation.ablation(result, cells),
            outlier_rho.editing(result, cells),
            outlier_rho.writers(result, cells),
        ],
        caveats=[*result.notes, *_CAVEATS],
        settings=result.settings,
        provenance=result.provenance,
        sources=result.sources,
        citations=[_CITATION],
    )


_QUESTION = (
    "After fine-tuning, does one dimension of the sentence state, with one threshold, do the task as well as the whole "
    "model? And do the dimensions that vary most before fine-tuning still do so after it?"
)
_INTRODUCTION = (
    "A language model turns a sentence into its state: a list of some hundred numbers, the dimensions, from which a "
    "small classifier reads the answer. From sentence to sentence a few of these dimensions vary far more than the "
    "rest. One is called an outlier here if its variance is at least {factor:g} times the mean variance; the one that "
    "varies most is the principal dimension, ρ.",
    "Rudman, Chen and Eickhoff claimed in 2023 that outliers outlast fine-tuning, that ρ alone, cut at one threshold, "
    "does the task with little loss, and that dimensions know more of the task the more they vary. This study asks "
    "whether that is so for the models and tasks below, and holds each answer against what chance and simpler "
    "explanations give.",
)
_CAVEATS = (
    "The tables of the paper were not recovered; its qualitative claims are what is compared with, and no published "
    "number is shown.",
    "Where a principal component, a random direction or another dimension does as well as ρ, the label is spread over "
    "the state and not held in ρ: read the controls before the claim.",
    "Intervals over several seeds are Student's, of the mean, cut where nothing can lie, and wide where seeds are few; "
    "with one seed they are Wilson's, over sentences, and those of random directions, permuted labels and random "
    "dimensions hold 95 % of the draws.",
    "A claim is said to hold where an interval is reached, or chance is beaten at p < 0.05 under every seed. These "
    "bounds are ours and not the paper's; the more models and tasks are tried, the more of them are met by luck.",
)
_CITATION = """\
@inproceedings{rudman2023outlier,
  author = {Rudman and Chen and Eickhoff},
  title = {Outlier Dimensions Encode Task-Specific Knowledge},
  booktitle = {EMNLP},
  year = {2023},
  eprint = {2310.17715},
  archivePrefix = {arXiv}
}"""


def models_and_tasks(result: Result) -> list[sections.Cell]:
    """Give every model and task, in the order of the study."""
    found = [(str(each.where["model"]), str(each.where["task"])) for each in result.numbers if each.name == "last_loss"]
    return list(dict.fromkeys(found))


def _within_bounds(number: Number) -> Number:
    """The same number, its interval cut to the values that can be: Student's knows no bounds."""
    bounds = next((bounds for names, bounds in _BOUNDS.items() if re.search(names, number.name)), None)
    if number.interval is None or bounds is None:
        return number
    low, high = (min(max(end, bounds[0]), bounds[1]) for end in number.interval)
    return replace(number, interval=(low, high))


_BOUNDS = {
    "_correlation$": (-1.0, 1.0),
    "accuracy$|_fraction$|_p_value$|jaccard_score$": (0.0, 1.0),
    "^num_|_ratio$": (0.0, math.inf),
}
