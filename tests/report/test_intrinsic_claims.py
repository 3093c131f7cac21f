import math

import pytest

from dimscope.core.result import Number, Result
from dimscope.report.intrinsic_claims import bracket, in_words, verdicts
from dimscope.report.verdict import FAILS, HOLDS, UNMEASURED, UNTOLD

FEW, MODULES, RANDOM, PERMUTED, PRETRAINING, BOUND, WAYS = range(7)

BRANCHES = {
    "few": (FEW, {}, HOLDS, "d90 is 300 to 1,000 of 1,000,000 parameters (to reach 0.720, full model 0.800 [0.780, 0.82"),
    "many": (FEW, {"plain": {300: 0.5, 1000: 0.8}, "num_moved": 20_000}, FAILS, "more than 1% of them"),
    "few or not": (FEW, {"num_moved": 50_000}, UNTOLD, "whether that is at most 1% of them, 500, cannot be told"),
    "none passed": (FEW, {"plain": {300: 0.5}}, UNTOLD, "d90 is more than 300 of"),
    "none passed of many": (FEW, {"plain": {300: 0.5}, "num_moved": 100}, FAILS, "more than 300"),
    "nothing learned": (FEW, {"majority": 0.79}, UNTOLD, "not surely better than the majority class"),
    "nothing to reach": (FEW, {"majority": 0.75}, UNTOLD, "the majority class alone reaches that"),
    "modules save": (MODULES, {"structure-aware": {50: 0.5, 300: 0.8}}, HOLDS, "d90 is 50 to 300"),
    "modules cost": (MODULES, {"structure-aware": {1000: 0.5, 3000: 0.8}}, FAILS, "lie the other way round"),
    "modules no matter": (MODULES, {}, UNTOLD, "the brackets overlap"),
    "modules unknown": (MODULES, {"structure-aware": None}, UNMEASURED, "With a factor for each module: not measured"),
    # Even the full model stays below.
    "random needs more": (RANDOM, {}, HOLDS, "it takes more than 1,000,000 (all parameters: 0.600 [0.580, 0.620])"),
    "random never": (RANDOM, {"random weights": {10: 0.5, 100: 0.55}}, HOLDS, "d90 is 10 to 100 (to reach 0.540"),
    # Its own level is easy, and does not count.
    "random is told apart": (RANDOM, {}, HOLDS, "d90 is at most 10,000 (to reach 0.540"),
    "random needs less": (RANDOM, {"random weights": {10: 0.5, 100: 0.8}, "random weights full": 0.8}, FAILS, "other way"),
    "random untried": (RANDOM, {"random weights": {100: 0.5}, "random weights full": 0.8}, UNTOLD, "overlap"),
    "permuted need more": (PERMUTED, {}, HOLDS, "For permuted labels, learned by heart: d90 is 3,000 to 10,000"),
    "permuted need less": (PERMUTED, {"permuted labels": {10: 0.5, 100: 0.9}}, FAILS, "10 to 100"),
    "permuted unlearned": (PERMUTED, {"permuted full": 0.51}, UNTOLD, "the full model is not surely better"),
    "falls": (PRETRAINING, {}, HOLDS, "step 0 at most 3,000; step 100 100 to 300; to reach 0.630, as is asked of the last, the first takes more than 1,000,000"),
    "does not fall": (PRETRAINING, {"step 0": {10: 0.5, 100: 0.8}, "step 0 full": 0.8}, FAILS, "the other way round"),
    "one step": (PRETRAINING, {"step 0": None}, UNMEASURED, "not measured"),
    "bound": (BOUND, {}, HOLDS, "From 1,000 numbers of 2 bits the error is bounded by 0.400 (measured 0.250 [0.230, 0.270]"),
    "useless bound": (BOUND, {"best_error_bound": 0.6}, FAILS, "promises less than a constant answer"),
    "vacuous bound": (BOUND, {"best_error_bound": 1.2}, FAILS, "it is vacuous"),
    "no bound": (BOUND, {"best_error_bound": None}, UNMEASURED, "not measured"),
    "as good": (WAYS, {}, HOLDS, "biases (BitFit) 0.700 [0.680, 0.720] and 0.700 [0.680, 0.720], the head alone"),
    "better": (WAYS, {"biases": (0.6, 0.7)}, HOLDS, "within or above the interval of biases (BitFit), the head alone"),
    "worse": (WAYS, {"biases": (0.8, 0.7)}, FAILS, "surely below biases (BitFit)"),
    "perhaps worse": (WAYS, {"biases": (0.73, 0.7)}, UNTOLD, "is below biases (BitFit) cannot be told"),
    "one learned nothing": (WAYS, {"head": (0.51, 0.3)}, HOLDS, "within or above the interval of biases (BitFit)"),
    "none learned": (WAYS, {"biases": (0.5, 0.5), "head": (0.51, 0.3)}, UNTOLD, "no other way is surely better than the"),
    "no other way": (WAYS, {"biases": None, "head": None}, UNMEASURED, "not measured"),
}  # fmt: skip


@pytest.mark.parametrize("branch", BRANCHES)
def test_every_verdict_says_what_the_numbers_say(made_up_search, branch):
    claim, changed, told, clause = BRANCHES[branch]
    verdict = verdicts(made_up_search(changed), "bert", "rte")[claim]
    assert verdict.told == told
    assert clause in verdict.clause


def test_each_place_is_judged_by_its_own_numbers(made_up_search):
    both = Result(
        numbers=[
            *made_up_search({}, model="bert").numbers,
            *(
                each
                for each in made_up_search({"majority": 0.75}, model="gpt2").numbers
                if each.where.get("step") is None
            ),
        ]
    )
    assert [verdicts(both, model, "rte")[FEW].told for model in ("bert", "gpt2")] == [HOLDS, UNTOLD]


def test_a_bracket_at_another_level_is_that_of_the_curve_and_of_the_full_model():
    curve = {10: 0.5, 30: 0.7, 100: 0.6, 300: 0.8}
    numbers = [
        Number(name="accuracy", value=value, where={"part": "plain", "training": "subspace", "num_trained": d})
        for d, value in curve.items()
    ]
    whole = Number(name="accuracy", value=0.85, where={"part": "plain", "training": "full"})
    levels = {"target_accuracy": 0.55, "num_moved_parameters": 5000}
    numbers += [Number(name=name, value=value, where={"part": "plain"}) for name, value in levels.items()]
    search = Result(numbers=[*numbers, whole])
    assert in_words(bracket(search)) == "10 to 30"
    assert in_words(bracket(search, 0.65)) == "100 to 300"
    assert in_words(bracket(search, 0.82)) == "300 to 5,000"
    assert in_words(bracket(search, 0.9)) == "more than 5,000"
    assert in_words(bracket(search, 0.1)) == "at most 10"
    assert search.only(part="random weights").numbers == []
    assert not math.isnan(search.value("target_accuracy"))
