"""The page of the outlier-dimension study, out of its pooled result alone."""

from __future__ import annotations

from collections.abc import Iterator

from dimscope.core.result import Result
from dimscope.report import outlier_sections as sections
from dimscope.report.page import Page
from dimscope.report.tables import cell

_QUESTION = (
    "After fine-tuning, does one dimension of the sentence state, with one threshold, do the task as well as the whole "
    "model? Do the dimensions that vary most before fine-tuning still do so after it?"
)


def page(result: Result) -> Page:
    """Lay the pooled result of the study out: question, answers, controls, diagrams, ablations, provenance."""
    cells = _cells(result)
    return Page(
        title="Outlier dimensions",
        question=_QUESTION,
        answers=[sentence for model, task in cells for sentence in _answers(result, model, task)],
        sections=[
            sections.one_dimension(result, cells),
            sections.variance(result, cells),
            sections.profiles(result, cells),
            sections.correlation(result, cells),
            sections.persistence(result, cells),
            sections.ablation(result, cells),
        ],
        caveats=[*result.notes, *_CAVEATS],
        settings=result.settings,
        provenance=result.provenance,
        sources=result.sources,
    )


_CAVEATS = (
    "The tables of the paper were not recovered; its qualitative claims are what is compared with, and no published "
    "number is shown.",
    "A single dimension that does as well as ρ, a principal component or a random direction that comes close, all say "
    "that the label is spread over the state and not held in ρ: read the controls before the claim.",
    "Intervals over several seeds are Student's, of the mean; with one seed they are Wilson's, over sentences. "
    "Those of random directions, permuted labels and random dimensions hold 95 % of the draws.",
)


def _cells(result: Result) -> list[sections.Cell]:
    """Every model and task, in the order of the study."""
    found = [(str(each.where["model"]), str(each.where["task"])) for each in result.numbers if each.name == "last_loss"]
    return list(dict.fromkeys(found))


def _answers(result: Result, model: str, task: str) -> Iterator[str]:
    place = {"model": model, "task": task, "weights": "fine-tuned"}
    by_name = {
        str(each.where["classifier"]): each
        for each in sections.averages(result, "accuracy", **place)
        if each.where.get("rule", "exact") == "exact" and "classifier" in each.where
    }
    told = {name: cell(each.value, each.interval) for name, each in by_name.items()}
    yield (
        f"{model} on {task}: the principal dimension alone classifies {told['principal dimension']} of the held-out "
        f"sentences rightly, the full model {told['full model']}, always answering the majority class "
        f"{told['majority class']}."
    )
    as_good = sections.averages(result, "num_dims_as_good_as_principal", **place)[0]
    yield (
        f"The controls: the first principal component {told['first principal component']}, the best linear direction "
        f"{told['best linear direction']}, a random direction {told['random direction']}; "
        f"{as_good.value:.0f} other single dimensions do at least as well as the principal one."
    )
    before, after = (
        sections.averages(result, "num_outlier_dims", model=model, task=task, weights=weights)[0].value
        for weights in ("pretrained", "fine-tuned")
    )
    shared = sections.averages(result, "num_shared", model=model, task=task)[0]
    yield (
        f"Outlier dimensions: {before:.1f} before fine-tuning and {after:.1f} after it (mean over seeds), "
        f"of which {shared.value:.1f} are the same."
    )
