"""Whether the claims about intrinsic dimension hold for one model and task, told from the numbers of a study.

The claims are those of Aghajanyan, Zettlemoyer & Gupta 2020 (2012.13255): few numbers suffice (section 4), fewer with
factors of the modules, fewer the longer the model was pretrained, and the error is bounded by how few they are (section
5). That random weights and permuted labels need more, and that parameters chosen by their place do no better, is what
the first of them needs to mean anything, and ours. What counts as holding is ours too: two brackets do not overlap, or
an interval is reached.
"""

from __future__ import annotations

import math

from dimscope.core.result import Number, Result
from dimscope.numerics.bracket import Bracket
from dimscope.report.tables import cell, cell_of
from dimscope.report.verdict import FAILS, HOLDS, UNMEASURED, UNTOLD, Verdict

FEW = 0.01
"""So small a share of the moved parameters is few."""
WAYS = {"lora": "LoRA of rank 1", "biases": "biases (BitFit)", "head": "the head alone", "last_layer": "the last layer"}
"""Other ways to train few numbers, as a reader calls them."""


def verdicts(result: Result, model: str, task: str) -> list[Verdict]:
    """Judge the seven claims, in the order in which they are told."""
    plain = result.only(part="plain", model=model, task=task)
    others = {name: result.only(part=name, model=model, task=task) for name in _COMPARED}
    return [
        _few_suffice(plain),
        *(_needs_fewer(plain, others[name], *words) for name, words in _COMPARED.items()),
        _falls(result.only(part="small encoder", task=task)),
        _is_bounded(result.only(part="bound", model=model, task=task)),
        _as_good_as(result, model, task),
    ]


def is_search(numbers: Result) -> bool:
    """Tell whether a search was finished there."""
    return any(each.name == "target_accuracy" for each in numbers.numbers)


def bracket(search: Result, level: float | None = None) -> Bracket:
    """Give the bracket of what was tried, at the search's own level, or at another one, which all may fail."""
    scores = {
        int(each.where["num_trained"]): each.value
        for each in search.numbers
        if each.name == "accuracy" and each.where["training"] == "subspace"
    }
    if level is None:
        level = search.value("target_accuracy")
    else:
        # As many numbers as parameters are the full model, which passes at its own level by definition.
        scores[int(search.value("num_moved_parameters"))] = search.value("accuracy", training="full")
    return Bracket.of({d: score >= level for d, score in scores.items()})


def in_words(found: Bracket) -> str:
    """Tell where the number lies.

    >>> in_words(Bracket(316, 1000)), in_words(Bracket(10_000, None)), in_words(Bracket(None, 10))
    ('316 to 1,000', 'more than 10,000', 'at most 10')
    """
    if found.failing is None or found.passing is None:
        ends = (("more than", found.failing), ("at most", found.passing))
        return next((f"{words} {end:,}" for words, end in ends if end is not None), "not known")
    return f"{found.failing:,} to {found.passing:,}"


def steps(series: Result) -> list[int]:
    """Give the steps of pretraining from which a search was finished."""
    found = {int(each.where["step"]) for each in series.numbers if each.name == "target_accuracy"}
    return sorted(found)


def _few_suffice(plain: Result) -> Verdict:
    claim = "Few numbers suffice"
    found, num_moved = bracket(plain), plain.value("num_moved_parameters")
    few = math.floor(FEW * num_moved)
    told = f"d90 is {in_words(found)} of {num_moved:,.0f} parameters ({_levels(plain)})"
    if nothing := _nothing_to_reach(plain):
        return Verdict(claim, UNTOLD, f"{told}: {nothing}")
    if found.passing is not None and found.passing <= few:
        return Verdict(claim, HOLDS, f"{told}: at most {FEW:.0%} of them, so the claim holds here")
    if found.failing is not None and found.failing >= few:
        return Verdict(claim, FAILS, f"{told}: more than {FEW:.0%} of them, so the claim does not hold here")
    return Verdict(claim, UNTOLD, f"{told}: whether that is at most {FEW:.0%} of them, {few:,}, cannot be told")


def _needs_fewer(plain: Result, other: Result, claim: str, what: str, is_fewer: bool, is_same_level: bool) -> Verdict:
    """Compare with another search: whether it needs fewer numbers, or more, as is claimed."""
    if not is_search(other):
        return Verdict(claim, UNMEASURED, f"{what}: not measured")
    level = plain.value("target_accuracy") if is_same_level else None
    found = bracket(other, level)
    clause = f"{what}: d90 is {in_words(bracket(other))} ({_levels(other)})"
    if is_same_level and level != other.value("target_accuracy"):
        clause += f", and to be as good as the pretrained model is to be it takes {_to_reach(other, found)}"
    if nothing := _nothing_to_reach(plain) or (None if is_same_level else _nothing_to_reach(other)):
        return Verdict(claim, UNTOLD, f"{clause}; {nothing}")
    fewer, more = (found, bracket(plain)) if is_fewer else (bracket(plain), found)
    told = _is_below(fewer, more)
    return Verdict(claim, told, f"{clause}; {_SAID[told]}")


_COMPARED = {
    "structure-aware": ("Fewer with factors of the modules", "With a factor for each module", True, True),
    "random weights": ("Random weights need more", "From random weights", False, True),
    "permuted labels": ("Permuted labels need more", "For permuted labels, learned by heart", False, False),
}
"""The claim, what is told of, whether it is claimed to need fewer, and whether it is to be as good as the plain one."""
_SAID = {
    HOLDS: "the brackets do not overlap, so the claim holds here",
    FAILS: "the brackets lie the other way round, so the claim does not hold here",
    UNTOLD: "the brackets overlap, so the claim cannot be told",
}


def _falls(series: Result) -> Verdict:
    """Compare the least with the most pretraining, at the level of the latter."""
    claim, told_at = "Fewer the longer pretrained", steps(series)
    if len(told_at) < 2:
        return Verdict(claim, UNMEASURED, "d90 against pretraining steps: not measured")
    searches = {step: Result(numbers=[n for n in series.numbers if n.where.get("step") == step]) for step in told_at}
    first, last = searches[told_at[0]], searches[told_at[-1]]
    level = last.value("target_accuracy")
    each = "; ".join(f"step {step:,} {in_words(bracket(search))}" for step, search in searches.items())
    at_level = _to_reach(first, bracket(first, level))
    clause = (
        f"d90 of the small encoder by steps of pretraining: {each}; to reach {cell(level)}, as is asked of the last, "
        f"the first takes {at_level}"
    )
    if nothing := _nothing_to_reach(last):
        return Verdict(claim, UNTOLD, f"{clause}; {nothing}")
    told = _is_below(bracket(last), bracket(first, level))
    return Verdict(claim, told, f"{clause}; {_SAID[told]}")


def _is_bounded(bound: Result) -> Verdict:
    claim = "The bound tells something"
    if not bound.numbers:
        return Verdict(claim, UNMEASURED, "The compression bound: not measured")
    best, constant = bound.value("best_error_bound"), bound.number("majority_error")
    measured = bound.number("validation_error", bits=32)
    num_bits = bound.value("best_num_bits")
    clause = (
        f"From {bound.value('num_trained'):,.0f} numbers of {num_bits:.0f} bit{'s' if num_bits > 1 else ''} the error "
        f"is bounded by {cell(best)} (measured {cell_of(measured)}, gap {cell(bound.value('gap'))}; always answering "
        f"the majority class {cell(constant.value)})"
    )
    if best >= 1:
        return Verdict(claim, FAILS, f"{clause}: it is vacuous")
    if best >= constant.value:
        return Verdict(claim, FAILS, f"{clause}: it promises less than a constant answer does")
    return Verdict(claim, HOLDS, f"{clause}: it promises more than a constant answer does")


def _as_good_as(result: Result, model: str, task: str) -> Verdict:
    """Hold the random subspace against as many numbers at chosen places."""
    claim = "As good as chosen parameters"
    pairs = {way: ways(result, way, model, task) for way in WAYS}
    measured = {way: pair for way, pair in pairs.items() if pair}
    if not measured:
        return Verdict(claim, UNMEASURED, "Other ways to train as few numbers: not measured")
    each = (f"{WAYS[way]} {cell_of(own)} and {cell_of(subspace)}" for way, (own, subspace) in measured.items())
    said = f"Other ways, and a random subspace of as many numbers: {', '.join(each)}"
    majority = result.only(part="plain", model=model, task=task).value("majority_accuracy")
    learned = {WAYS[way]: pair for way, pair in measured.items() if pair[0].low > majority}
    lower = [way for way, (own, subspace) in learned.items() if subspace.high < own.low]
    below = [way for way, (own, subspace) in learned.items() if subspace.value < own.low]
    if not learned:
        return Verdict(claim, UNTOLD, f"{said}: no other way is surely better than the majority class")
    if lower:
        return Verdict(claim, FAILS, f"{said}: a random subspace is surely below {', '.join(lower)}")
    if below:
        return Verdict(claim, UNTOLD, f"{said}: whether a random subspace is below {', '.join(below)} cannot be told")
    return Verdict(claim, HOLDS, f"{said}: a random subspace is within or above the interval of {', '.join(learned)}")


def ways(result: Result, way: str, model: str, task: str) -> tuple[Number, Number] | None:
    """Give the accuracy of a way to train few numbers and that of the random subspace of as many, if measured."""
    numbers = result.only(part=f"as many as {way}", model=model, task=task)
    if not numbers.numbers:
        return None
    return numbers.number("accuracy", training=way), numbers.number("accuracy", training="subspace")


def _is_below(fewer: Bracket, more: Bracket) -> str:
    if fewer.passing is not None and more.failing is not None and fewer.passing <= more.failing:
        return HOLDS
    if more.passing is not None and fewer.failing is not None and more.passing <= fewer.failing:
        return FAILS
    return UNTOLD


def _nothing_to_reach(search: Result) -> str | None:
    """Say why a bracket tells nothing: the model learned nothing, or the majority class would pass."""
    majority = search.value("majority_accuracy")
    if search.number("accuracy", training="full").low <= majority:
        return "the full model is not surely better than the majority class, so there is nothing to reach"
    if search.value("target_accuracy") <= majority:
        return "the majority class alone reaches that, so it tells nothing"
    return None


def _to_reach(search: Result, found: Bracket) -> str:
    """Tell the bracket at another level, and whether even the full model stays below that."""
    full = search.number("accuracy", training="full")
    return f"{in_words(found)} (all parameters: {cell_of(full)})"


def _levels(search: Result) -> str:
    full, target, majority = (
        search.number("accuracy", training="full"),
        search.value("target_accuracy"),
        search.value("majority_accuracy"),
    )
    return f"to reach {cell(target)}, full model {cell_of(full)}, majority class {cell(majority)}"
