"""The page of the circuit-reuse study, out of its pooled result alone."""

from __future__ import annotations

from dimscope.core.result import Result
from dimscope.report import circuit_claims as claims
from dimscope.report import circuit_heads as alone
from dimscope.report import circuit_sections as sections
from dimscope.report.circuit_published import beside_published
from dimscope.report.page import Page
from dimscope.report.verdict import sentences, verdict_table


def page(result: Result) -> Page:
    """Lay the pooled result of the study out: question, answers, circuits, overlap, intervention, provenance."""
    models = models_of(result)
    judged = {(model, _compared(result, model)): claims.verdicts(result, model) for model in models}
    laid_out = [
        sections.tasks_done(result, models),
        sections.overlap(result, models),
        sections.intervention(result, models),
        sections.attention(result, models),
        alone.each_forced(result, models),
        alone.blocking(result, models),
        beside_published(result, models),
        sections.circuits(result, models),
    ]
    return Page(
        title="Circuit reuse",
        question=_QUESTION,
        introduction=_INTRODUCTION,
        verdicts=verdict_table(judged),
        answers={model: sentences(told) for (model, _), told in judged.items()},
        sections=[section for section in laid_out if section],
        caveats=[*result.notes, *_CAVEATS],
        settings=result.settings,
        provenance=result.provenance,
        sources=result.sources,
        citations=[_CITATION],
    )


def _compared(result: Result, model: str) -> str:
    tasks = claims.Tasks.of(result.settings, model)
    return f"{claims.short(tasks.known)}, {claims.short(tasks.reusing)}"


def models_of(result: Result) -> list[str]:
    """Give every model whose tasks were measured, in the order of the study."""
    found = result.only(part="accuracy").numbers
    return list(dict.fromkeys(str(each.where["model"]) for each in found))


_QUESTION = (
    "Do the attention heads with which a language model does one task do another task as well? And is a model that "
    "fails at the second task put right by making them behave as they do in the first?"
)
_INTRODUCTION = (
    "'When Mary and John came to the park, John handed the ball to' wants 'Mary'. Published work found the heads that "
    "do this: mover heads copy a name to the end, inhibition heads tell them which name not to copy, and others notice "
    "which name came twice. A second task asks for the color of one of three objects.",
    "Merullo, Eickhoff and Pavlick claimed in 2024 that GPT-2 Medium uses 78 % of the same heads for both tasks, and "
    "that it is right about colors nearly twice as often once the inhibition heads and a negative mover head are made "
    "to look at the two wrong colors. This study asks whether that is so for the models below, and holds each answer "
    "against chance, other tasks and random heads. Where a published model does not do the tasks, a small one that was "
    "trained on both, here and from nothing, is asked as well; its second task is a smaller set of the same questions.",
)
_CAVEATS = (
    "Shares are of the answer's change from prompt to counterfactual, over the prompts that the model has right; with "
    "few of these, the order of the weaker heads is chance.",
    "Which heads are movers, inhibition heads or negative is told by stage and sign alone: the positive heads of the "
    "first stage, the positive heads of the second, and the most negative of the first. Nobody looked at what they do.",
    "Heads that are forced to look at the wrong answers are told which answers are wrong. That this helps shows that "
    "what follows them can use it, not that the model would have found it.",
    "Two rankings of a small model's heads share their tops easily, for there are few heads: read chance first.",
    "A claim is said to hold by rules that are ours and not the paper's: 10 points above chance, p < 0.05, an interval "
    "above 0. The more models and tasks are tried, the more of them are met by luck.",
)
_CITATION = """\
@inproceedings{merullo2024circuit,
  author = {Merullo, Jack and Eickhoff, Carsten and Pavlick, Ellie},
  title = {Circuit Component Reuse Across Tasks in Transformer Language Models},
  booktitle = {ICLR},
  year = {2024},
  eprint = {2310.08744},
  archivePrefix = {arXiv}
}"""
