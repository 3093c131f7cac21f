"""The page of the intrinsic-dimension study, out of its pooled result alone."""

from __future__ import annotations

from dimscope.core.result import Result
from dimscope.report import intrinsic_claims as claims
from dimscope.report import intrinsic_sections as sections
from dimscope.report.page import Page
from dimscope.report.verdict import sentences, verdict_table


def page(result: Result) -> Page:
    """Lay the pooled result of the study out: question, answers, d-curves, controls, provenance."""
    cells = models_and_tasks(result)
    judged = {cell: claims.verdicts(result, *cell) for cell in cells}
    tasks = list(dict.fromkeys(task for _, task in cells))
    laid_out = [
        sections.d_curves(result, cells),
        sections.beside_published(result, cells),
        sections.controls(result, cells),
        sections.pretraining(result, tasks),
        sections.bound(result, cells),
        sections.other_ways(result, cells),
    ]
    return Page(
        title="Intrinsic dimension",
        question=_QUESTION,
        introduction=[text.format(share=result.settings["d90"]["share"]) for text in _INTRODUCTION],
        verdicts=verdict_table(judged),
        answers={f"{model} on {task}": sentences(told) for (model, task), told in judged.items()},
        sections=[section for section in laid_out if section],
        caveats=[*result.notes, *_CAVEATS],
        settings=result.settings,
        provenance=result.provenance,
        sources=result.sources,
        citations=[_CITATION],
    )


def models_and_tasks(result: Result) -> list[sections.Cell]:
    """Give every model and task, in the order of the study."""
    searched = (each.where for each in result.only(part="plain").numbers if each.name == "target_accuracy")
    return [(str(where["model"]), str(where["task"])) for where in searched]


_QUESTION = (
    "How few numbers must be trained for a pretrained model to do a task nearly as well as if all of its parameters "
    "were? And is it pretraining that makes them few?"
)
_INTRODUCTION = (
    "Fine-tuning usually changes every parameter of a model. Here only d numbers are trained, each of which moves the "
    "parameters along a random direction of its own. The smallest d that reaches {share:.0%} of the accuracy of the "
    "fully fine-tuned model is called d90 here, after the usual share. It is told as a bracket: the largest d that was "
    "tried and failed, and the smallest that passed.",
    "Aghajanyan, Zettlemoyer and Gupta claimed in 2020 that for pretrained models some hundreds to thousands suffice, "
    "that one factor for each module saves more, that it takes fewer the longer a model was pretrained, and that so "
    "few numbers bound the error on new sentences. This study asks whether that is so for the models and tasks below, "
    "and holds each answer against random weights, permuted labels and other ways to train as few numbers.",
)
_CAVEATS = (
    "A bracket is of its learning rates, epochs and random map: a d that fails may pass with more training, and the "
    "full model may still rise too. What was found with other settings is not compared.",
    "Intervals are Wilson's for the mean accuracy, over sentences: they do not hold the spread over seeds. The "
    "learning rate was chosen on the sentences that are scored, for every search and way alike.",
    "Random weights, and the first steps of pretraining, are compared at the level of the pretrained model, since a "
    "share of a low accuracy is easy to reach; their own levels and brackets stand in the tables.",
    "A claim is said to hold where two brackets do not overlap, d90 is at most 1 % of the moved parameters, a bound is "
    "below a constant answer's error, or an interval is reached. These rules are ours and not the paper's; the more "
    "models and tasks are tried, the more of them are met by luck.",
)
_CITATION = """\
@misc{aghajanyan2020intrinsic,
  author = {Aghajanyan, Armen and Zettlemoyer, Luke and Gupta, Sonal},
  title = {Intrinsic Dimensionality Explains the Effectiveness of Language Model Fine-Tuning},
  year = {2020},
  eprint = {2012.13255},
  archivePrefix = {arXiv}
}"""
