"""The page of the factual-recall study, out of its pooled result alone."""

from __future__ import annotations

from dimscope.core.result import Result
from dimscope.report import recall_claims as claims
from dimscope.report import recall_sections as sections
from dimscope.report.page import Page
from dimscope.report.verdict import Verdict, sentences, verdict_table


def page(result: Result) -> Page:
    """Lay the pooled result of the study out: question, answers, heads, MLPs, last layer, mitigation, provenance."""
    cells = models_and_tasks(result)
    judged = {cell: claims.verdicts(result, *cell) for cell in cells}
    judged |= _causes(result)
    laid_out = [
        sections.accuracy(result, cells),
        sections.movers(result, cells),
        sections.reweighting(result, cells),
        sections.last_layer(result, cells),
        sections.mitigation(result, cells),
        sections.published(judged),
    ]
    return Page(
        title="Factual recall",
        question=_QUESTION,
        introduction=_INTRODUCTION,
        verdicts=verdict_table(judged),
        answers={f"{model} on {task}": sentences(told) for (model, task), told in judged.items()},
        sections=laid_out,
        caveats=[*result.notes, *_CAVEATS],
        settings=result.settings,
        provenance=result.provenance,
        sources=result.sources,
        citations=[_CITATION],
    )


def models_and_tasks(result: Result) -> list[sections.Cell]:
    """Give every model and set of prompts, in the order of the study."""
    asked = (each.where for each in result.only(piece="accuracy").numbers)
    return list(dict.fromkeys((str(where["model"]), str(where["task"])) for where in asked))


def _causes(result: Result) -> dict[sections.Cell, list[Verdict]]:
    """Hold the models that were trained here, with and without noise, against each other."""
    trained = result.only(piece="training").numbers
    noise = {str(each.where["model"]): float(each.where["label_noise"]) for each in trained}
    if len(noise) < 2:
        return {}
    clean, noisy = sorted(noise, key=lambda model: noise[model])
    task = str(trained[0].where["task"])
    of = {model: result.only(piece="last layer", model=model, task=task) for model in noise}
    return {("trained here, both", task): [claims.cause(of[noisy], of[clean], noise[noisy])]}


_QUESTION = (
    "How does a language model come from 'The capital of France is' to 'Paris'? And does its last layer make it less "
    "sure of what it knows?"
)
_INTRODUCTION = (
    "A language model adds up what its parts write, layer after layer, at the last word of a prompt: attention heads, "
    "which carry something over from other words, and MLPs, which compute with what is there. From the sum it reads "
    "the next word. Each part can be looked at by itself, and taken out or made smaller.",
    "Lv and others claimed in 2024 that some heads pass the subject ('France') on to the last word, that an MLP erases "
    "or amplifies what single heads wrote, that a deeper one adds a vector that turns the subject into the answer, and "
    "that the last layer lowers the right answer, which can be taken back. This study asks whether that is so for the "
    "models and prompts below, and for a small model trained here, with and without wrong answers in its data.",
)
_CAVEATS = (
    "Of the paper its statements were recovered, not its numbers, formulas or heads: the regression, the shares of the "
    "last layer and the mitigation are written out by us, and no published number is shown.",
    "Prompts that a model has right are those that its last layer left right: whatever that layer spoils is not among "
    "them. So its change is told of all prompts too.",
    "The probability before the last layer is read through the final norm and the head, which were trained on the last "
    "states alone: that an answer cannot be read there does not mean that it is not there.",
    "The best of several layers and doses is told, and heads are chosen on the prompts on which they are then looked "
    "at: the claims about them are easier to meet than they seem. Only the mitigation has prompts of its own, in which "
    "the same subjects come again.",
    "A claim is said to hold where an interval lies on the claimed side of its control, or a few heads have more than "
    "half of all that is sent. These rules are ours and not the paper's; the more models and prompts are tried, the "
    "more of them are met by luck.",
)
_CITATION = """\
@misc{lv2024factual,
  author = {Lv and Chen and Zhang and Wang and Liu and Wen and Xie and Yan},
  title = {Interpreting Key Mechanisms of Factual Recall in Transformer-Based Language Models},
  year = {2024},
  eprint = {2403.19521},
  archivePrefix = {arXiv}
}"""
