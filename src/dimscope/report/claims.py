"""Whether the claims about outlier dimensions hold for one model and task, told from the numbers of a study.

The claims are those of Rudman, Chen & Eickhoff 2023 (2310.17715): ρ alone does the task with little loss (section
3.2), outliers persist through fine-tuning, and variance goes with 1-D accuracy. That ρ does more than its controls is
what the first of them needs to mean anything, and ours. What counts as holding is ours too: an interval is reached,
or chance is beaten at p < 0.05 under every seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dimscope.core.result import Number, Result
from dimscope.report.tables import cell, cell_of
from dimscope.report.verdict import FAILS, HOLDS, UNTOLD, Verdict

CONTROLS = {
    "majority class": "the",
    "permuted labels": "the",
    "random direction": "a",
    "first principal component": "the",
}
"""With its article, what knows nothing of ρ: where one of them does as well, ρ is nothing particular."""
_LEVEL = 0.05


def verdicts(result: Result, model: str, task: str) -> list[Verdict]:
    """Judge the four claims, in the order in which they are told.

    Raises:
        LookupError: the result lacks a number of that model and task.
    """
    own = _Own(result, {"model": model, "task": task})
    return [judge(own) for judge in (_does_the_task, _beats_its_controls, _outliers_persist, _variance_tells)]


def sentences(judged: Sequence[Verdict]) -> list[str]:
    """Tell the verdicts in three sentences: ρ against the full model, ρ against its controls, and the rest."""
    task, controls, persistence, variance = (each.clause for each in judged)
    return [f"{task}.", f"{controls}.", f"{persistence}; {variance}."]


@dataclass(frozen=True)
class _Own:
    """The numbers of one model and task."""

    result: Result
    place: dict[str, str]

    def mean(self, name: str, **where: str) -> Number:
        return self.result.number(name, statistic="mean", **self.place, **where)

    def seeds(self, name: str, **where: str) -> list[float]:
        wanted = {**self.place, **where}.items()
        alone = (each for each in self.result.numbers if each.name == name and "statistic" not in each.where)
        return [each.value for each in alone if wanted <= dict(each.where).items()]

    def accuracy(self, classifier: str) -> Number:
        rule = {} if classifier in ("full model", "majority class") else {"rule": "exact"}
        return self.mean("accuracy", classifier=classifier, weights="fine-tuned", **rule)


def _does_the_task(own: _Own) -> Verdict:
    principal, full, majority = map(own.accuracy, ("principal dimension", "full model", "majority class"))
    if _is_missing(principal.value, full.value, majority.value):
        told, why = UNTOLD, "a number is missing, so the claim cannot be told"
    elif full.low <= majority.value:
        told, why = UNTOLD, "the full model is not surely better than the majority class, so there is nothing to match"
    elif principal.value < full.low:
        told, why = FAILS, "ρ is below the full model's interval, so the claim does not hold here"
    else:
        where = "above" if principal.value > full.high else "within"
        told, why = HOLDS, f"ρ is {where} the full model's interval, so the claim holds here"
    clause = (
        f"One dimension, ρ{_standing(own)}, classifies {cell_of(principal)} of the held-out sentences rightly, the "
        f"full model {cell_of(full)}, always answering the majority class {cell(majority.value)}: {why}"
    )
    return Verdict("ρ alone does as well as the full model", told, clause)


def _standing(own: _Own) -> str:
    """Say so where ρ, which always varies most, is no outlier."""
    outliers = own.result.arrays[f"{own.place['model']}/{own.place['task']}/is_outlier"]
    is_outlier = outliers.values[-1].any(axis=-1).tolist()
    if all(is_outlier):
        return ""
    return f" (an outlier {_under(is_outlier)})" if any(is_outlier) else " (which varies most but is no outlier)"


def _beats_its_controls(own: _Own) -> Verdict:
    principal, linear = own.accuracy("principal dimension"), own.accuracy("best linear direction")
    controls = {name: own.accuracy(name) for name in CONTROLS}
    matching = {name: control for name, control in controls.items() if control.value >= principal.value}
    reaching = {name: control for name, control in controls.items() if control.high >= principal.low}
    if _is_missing(principal.value, *(control.value for control in controls.values())):
        told, why = UNTOLD, "Whether ρ does more than its controls cannot be told, since a number is missing"
    elif matching:
        told, why = FAILS, f"What ρ does is not particular to it, being matched by {_listed(matching)}"
    elif reaching:
        told, why = (
            UNTOLD,
            f"Whether ρ does more than its controls cannot be told: its interval meets {_listed(reaching)}",
        )
    else:
        told, why = HOLDS, f"ρ does more than its controls: its interval lies above {_listed(controls)}"
    others = own.mean("num_dims_as_good_as_principal", weights="fine-tuned").value
    clause = (
        f"{why}; for comparison, the best linear direction has {cell_of(linear)}, and the number of other single "
        f"dimensions that do at least as well as ρ is {_count(others)}"
    )
    return Verdict("ρ does more than its controls", told, clause)


def _outliers_persist(own: _Own) -> Verdict:
    before, after, shared, chance = (
        own.mean(name).value
        for name in ("num_outliers_before", "num_outliers_after", "num_shared", "num_shared_by_chance")
    )
    claim = "Outliers persist beyond chance"
    if before == 0:
        ranks = cell_of(own.mean("variance_rank_correlation"))
        clause = (
            f"Before fine-tuning no dimension is an outlier, so none could persist ({_count(after)} after it; "
            f"Spearman's correlation of the variances before with those after is {ranks})"
        )
        return Verdict(claim, UNTOLD, clause)
    told, how = _over_seeds([p if math.isnan(p) else p < _LEVEL for p in own.seeds("overlap_p_value")])
    said = {FAILS: "they do not persist beyond chance", UNTOLD: "whether they persist beyond chance cannot be told"}
    clause = (
        f"Of {_count(before)} outlier dimensions before fine-tuning {_count(shared)} are among the {_count(after)} "
        f"after it, where chance gives {cell(chance)}: {said.get(told, 'they persist beyond chance')}, {how}"
    )
    return Verdict(claim, told, clause)


def _variance_tells(own: _Own) -> Verdict:
    where = {"weights": "fine-tuned", "rule": "exact"}
    name = "variance_accuracy_correlation"
    pairs = zip(own.seeds(name, **where), own.seeds("variance_accuracy_p_value", **where), strict=True)
    # The p-value is of both sides: a correlation below 0 speaks against the claim, however small its p-value.
    told, how = _over_seeds([math.nan if math.isnan(value) else value > 0 and p < _LEVEL for value, p in pairs])
    said = {FAILS: "variance does not go", UNTOLD: "whether variance goes"}.get(told, "variance goes")
    end = " cannot be told" if told == UNTOLD else ""
    correlation = cell_of(own.mean(name, **where))
    clause = f"{said} with 1-D accuracy{end} (Spearman's correlation {correlation}), {how}"
    return Verdict("Variance goes with 1-D accuracy", told, clause)


def _over_seeds(is_so: Sequence[bool | float]) -> tuple[str, str]:
    """The verdict, and under how many seeds it is so (p < 0.05); nan stands for a seed that tells nothing."""
    telling = [bool(each) for each in is_so if not math.isnan(each)]
    if not telling:
        return UNTOLD, "there being no seed that tells"
    told = HOLDS if all(telling) else f"holds {_under(telling)}" if any(telling) else FAILS
    return told, f"p < {_LEVEL} {_under(telling)}"


def _under(is_so: Sequence[bool]) -> str:
    return f"under {sum(is_so)} of {len(is_so)} seed{'s' if len(is_so) > 1 else ''}"


def _count(mean: float) -> str:
    """A mean of counts: whole where it is whole."""
    return f"{mean:.1f}".removesuffix(".0")


def _listed(controls: Mapping[str, Number]) -> str:
    *first, last = (f"{CONTROLS[name]} {name} {cell_of(number)}" for name, number in controls.items())
    return f"{', '.join(first)} and {last}" if first else last


def _is_missing(*values: float) -> bool:
    return any(map(math.isnan, values))
