"""Whether the claims about factual recall hold for one model and set of prompts, told from the numbers of a study.

The claims are those of Lv et al. 2024 (2403.19521): heads pass the subject on, MLPs reweight what heads wrote, one adds
a vector that turns the subject into the answer, the last layer lowers the right answer, and taking that back helps. Of
the paper no more than these statements was recovered. What counts as holding is ours: an interval lies on the claimed
side of its control. So is the last question, whether noise in the training data alone makes the last layer do so.
"""

from __future__ import annotations

from collections.abc import Sequence

from dimscope.core.result import Number, Result
from dimscope.numerics.reweighting import COLLINEAR
from dimscope.report.tables import cell, cell_of
from dimscope.report.verdict import FAILS, HOLDS, UNMEASURED, UNTOLD, Verdict

CONTROLS = ("scrambled prompts", "scrambled subjects")
"""Fits that must explain less than that of the prompts' own heads."""
ELSEWHERE = "other layers"
"""What is scaled as the control."""
OTHERS = "others of these layers"
"""What is attended by as the control."""
_HALF = 0.5
_LITTLE = 0.05
"""A fit that explains surely less than this share explains next to nothing."""


def verdicts(result: Result, model: str, task: str) -> list[Verdict]:
    """Judge the six claims, in the order in which they are told."""
    movers, reweighting, last, every, mitigation = (
        result.only(piece=name, model=model, task=task)
        for name in ("movers", "reweighting", "last layer", "last layer, all prompts", "mitigation")
    )
    return [
        _few_act(movers),
        _pass_the_subject(reweighting),
        _reweight(reweighting),
        _vector_raises(reweighting),
        _lowers(last, every),
        _is_taken_back(last, mitigation),
    ]


def cause(noisy: Result, clean: Result, noise: float) -> Verdict:
    """Hold the last layer of a model that was trained on noisy answers against that of one that was not."""
    claim = "Noise in the data is the cause"
    if not noisy.numbers or not clean.numbers:
        return Verdict(claim, UNMEASURED, "The last layers of models trained here: not measured")
    with_noise, without = (_change(each) for each in (noisy, clean))
    clause = (
        f"Where {noise:.0%} of the training answers are wrong, the last layer changes the right answer's probability "
        f"by {cell_of(with_noise)} (to {_end(noisy)}, where {1 - noise:.0%} would be as sure as the data allow), "
        f"without noise by {cell_of(without)} (to {_end(clean)})"
    )
    if with_noise.high < 0 <= without.high:
        return Verdict(claim, HOLDS, f"{clause}: it lowers the answer with noise alone, so the claim holds here")
    if with_noise.low > 0:
        return Verdict(claim, FAILS, f"{clause}: even with noise it raises the answer, so the claim does not hold here")
    if without.high < 0:
        return Verdict(claim, FAILS, f"{clause}: it lowers the answer without noise too, so noise is not the cause")
    return Verdict(claim, UNTOLD, f"{clause}: whether it lowers the answer with noise cannot be told")


def named(result: Result, name: str, **where: str | int | float) -> list[Number]:
    """Give all numbers of that name at places that hold this."""
    return [each for each in result.numbers if each.name == name and where.items() <= dict(each.where).items()]


def best_layer(reweighting: Result) -> int:
    """Give the layer whose MLP is explained best by what heads wrote, on subjects left out."""
    return _layer_of_highest(named(reweighting, "r2_score", fit="heads"))


def _few_act(movers: Result) -> Verdict:
    claim = "A few heads act on the answer"
    if not movers.numbers:
        return Verdict(claim, UNMEASURED, "Heads that act on the logits: not measured")
    carried, even = (movers.number(name) for name in ("carried_fraction", "even_fraction"))
    strongest = movers.number("patched_share", rank=1)
    clause = (
        f"The heads {carried.where['heads']} have {carried.value:.0%} of what all heads send to the logits directly, "
        f"either way (all alike would have {even.value:.0%}); the strongest, {_head(strongest)}, sends "
        f"{cell_of(strongest)} of the answer's change"
    )
    if carried.value > _HALF:
        return Verdict(claim, HOLDS, f"{clause}: more than half, so the claim holds here")
    return Verdict(claim, FAILS, f"{clause}: not more than half, so the claim does not hold here")


def _pass_the_subject(reweighting: Result) -> Verdict:
    claim = "They pass the subject on"
    if not reweighting.numbers:
        return Verdict(claim, UNMEASURED, "What these heads write: not measured")
    above = reweighting.number("subject_above_answer_fraction", message="all heads")
    subject, answer = (
        reweighting.value("median_rank", message="all heads", output=output) for output in ("subject", "answer")
    )
    clause = (
        f"What they write together has the subject above the answer in {cell_of(above)} of the prompts (median ranks "
        f"{subject:,.0f} and {answer:,.0f})"
    )
    attention = {str(each.where["head"]): each for each in named(reweighting, "attention_to_subject")}
    if others := attention.pop(OTHERS, None):
        looking = [each for each in attention.values() if each.low > others.value]
        clause += (
            f"; from the last token {len(looking)} of {len(attention)} attend to the subject more than the other heads "
            f"of their layers do ({cell(others.value)})"
        )
    return Verdict(claim, *_beside(above, _HALF, clause, "they write the subject rather than the answer"))


def _reweight(reweighting: Result) -> Verdict:
    claim = "MLPs reweight what heads write"
    if not reweighting.numbers:
        return Verdict(claim, UNMEASURED, "MLPs as weighted sums of heads: not measured")
    layer = best_layer(reweighting)
    fit = reweighting.number("r2_score", layer=layer, fit="heads")
    controls = {name: reweighting.number("r2_score", layer=layer, fit=name) for name in CONTROLS}
    weights = ", ".join(f"{each.where['head']} {cell_of(each)}" for each in named(reweighting, "weight", layer=layer))
    num_layers, condition = len(named(reweighting, "r2_score", fit="heads")), _condition(reweighting, layer)
    beside = " and ".join(f"{name} {cell_of(each)}" for name, each in controls.items())
    clause = (
        f"On subjects left out, a weighted sum of these heads explains at best (layer {layer}, of {num_layers} tried) "
        f"{cell_of(fit)} of an MLP's output, {beside}; "
        f"the weights there are {weights} ({condition})"
    )
    if fit.high < _LITTLE:
        return Verdict(claim, FAILS, f"{clause}: next to nothing, so the claim does not hold here")
    best_control = max(each.high for each in controls.values())
    return Verdict(claim, *_beside(fit, best_control, clause, "the heads explain more than scrambled ones"))


def _vector_raises(reweighting: Result) -> Verdict:
    claim = "A vector of an MLP's own raises the answer"
    if not reweighting.numbers:
        return Verdict(claim, UNMEASURED, "The MLPs' own vectors: not measured")
    layer = _layer_of_highest(named(reweighting, "raised_fraction", added="intercept"))
    own, random = (
        reweighting.number("raised_fraction", layer=layer, added=added) for added in ("intercept", "random vector")
    )
    alone = reweighting.value("median_rank", message="all heads", output="answer")
    together = reweighting.value("median_rank", message="all heads and intercept", output="answer", layer=layer)
    clause = (
        f"The vector of layer {layer}'s MLP, which is the same for all prompts, added to what the heads wrote, raises "
        f"the answer in {cell_of(own)} of the prompts (its median rank from {alone:,.0f} to {together:,.0f}), a random "
        f"vector as long in {cell_of(random)}"
    )
    return Verdict(claim, *_beside(own, random.high, clause, "it raises the answer more often"))


def _lowers(last: Result, every: Result) -> Verdict:
    claim = "The last layer lowers the answer"
    if not last.numbers:
        return Verdict(claim, UNMEASURED, "The last layer: not measured")
    change, lowered = _change(last), last.number("lowered_fraction", output="answer")
    clause = (
        f"The last layer changes the right answer's probability by {cell_of(change)}, to {_end(last)}, and lowers it "
        f"in {cell_of(lowered)} of the prompts that the model has right"
    )
    if every.numbers:
        of_all = every.number("lowered_fraction", output="answer")
        clause += f" (of all prompts: by {cell_of(_change(every))}, in {cell_of(of_all)})"
    heads, mlp, scale = (
        last.number("mean_log_probability_share", part=part) for part in ("all heads", "MLP", "norm's scale")
    )
    clause += (
        f"; of its log-probability's change are the heads' {cell_of(heads)}, the MLP's {cell_of(mlp)}, and that of "
    )
    clause += f"the final norm's scale {cell_of(scale)} nats"
    if change.high < 0:
        return Verdict(claim, HOLDS, f"{clause}: it lowers it on average, so the claim holds here")
    if change.low > 0:
        return Verdict(claim, FAILS, f"{clause}: it raises it on average, so the claim does not hold here")
    return Verdict(claim, UNTOLD, f"{clause}: whether it lowers it on average cannot be told")


def _is_taken_back(last: Result, mitigation: Result) -> Verdict:
    claim = "Taking that back raises it"
    if not last.numbers or not mitigation.numbers:
        return Verdict(claim, UNMEASURED, "Less of a part of the last layer: not measured")
    lowest = mitigation.number("responsible_share")
    changes = [each for each in named(mitigation, "probability_change") if each.where["scaled"] != ELSEWHERE]
    best = max(changes, key=lambda each: each.value)
    dose = float(best.where["dose"])
    controls = named(mitigation, "probability_change", scaled=ELSEWHERE, dose=dose)
    elsewhere = f" (in other layers by {cell_of(controls[0])})" if controls else ""
    if lowest.high >= 0:
        clause = f"No head of the last layer, nor its MLP, surely takes from the answer (least {cell_of(lowest)} nats)"
        return Verdict(claim, UNTOLD, f"{clause}: there is no part to make smaller, so the claim cannot be told")
    clause = (
        f"The part of the last layer that takes most from the answer's log-probability is {lowest.where['scaled']} "
        f"({cell_of(lowest)} nats); on prompts drawn anew, with it times {1 - dose:g} the probability changes by "
        f"{cell_of(best)}, the most of {len(changes)} doses{elsewhere}, accuracy by {cell_of(_at(mitigation, best))}"
    )
    least = max([0.0, *(each.high for each in controls)])
    return Verdict(claim, *_beside(best, least, clause, "less of it raises the answer"))


def _condition(reweighting: Result, layer: int) -> str:
    number = reweighting.value("condition_number", layer=layer)
    return f"condition number {cell(number)}{', so that others would fit as well' if number >= COLLINEAR else ''}"


def _at(mitigation: Result, change: Number) -> Number:
    where = {name: change.where[name] for name in ("scaled", "dose")}
    return mitigation.number("accuracy_change", **where)


def _beside(number: Number, control: float, clause: str, what: str) -> tuple[str, str]:
    """Tell whether the number's interval lies above its control, below it, or around it."""
    if number.low > control:
        return HOLDS, f"{clause}: {what}, so the claim holds here"
    if number.high < control or number.value <= control:
        return FAILS, f"{clause}: that {what} is not so here"
    return UNTOLD, f"{clause}: whether {what} cannot be told"


def _change(last: Result) -> Number:
    return last.number("probability_change", output="answer")


def _end(last: Result) -> str:
    layers = named(last, "mean_probability")
    return cell(max(layers, key=lambda each: float(each.where["layer"])).value)


def _layer_of_highest(numbers: Sequence[Number]) -> int:
    return int(max(numbers, key=lambda each: each.value).where["layer"])


def _head(number: Number) -> str:
    return f"{number.where['layer']}.{number.where['head']}"
