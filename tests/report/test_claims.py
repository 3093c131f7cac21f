from __future__ import annotations

import pytest

from dimscope.report.claims import FAILS, HOLDS, UNTOLD, sentences, verdicts

NAN = float("nan")
TASK, CONTROLS, PERSISTENCE, VARIANCE = range(4)

BRANCHES = {
    "ρ within the interval": (TASK, {}, HOLDS, "ρ is within the full model's interval, so the claim holds here"),
    "ρ at its lower end": (TASK, {"principal dimension": 0.89}, HOLDS, "within the full model's interval"),
    "ρ above": (TASK, {"principal dimension": 0.95}, HOLDS, "ρ is above the full model's interval"),
    "ρ below": (TASK, {"principal dimension": 0.85}, FAILS, "ρ is below the full model's interval"),
    "nothing learned": (TASK, {"majority class": 0.9}, UNTOLD, "not surely better than the majority class"),
    "worse than majority": (TASK, {"majority class": 0.99}, UNTOLD, "so there is nothing to match"),
    "no accuracy": (TASK, {"full model": NAN}, UNTOLD, "the full model —"),
    "ρ is an outlier": (TASK, {}, HOLDS, "One dimension, ρ, classifies 0.900 [0.880, 0.920] of"),
    "ρ is none": (TASK, {"after": 0}, HOLDS, "ρ (which varies most but is no outlier), classifies"),
    "ρ is one at times": (TASK, {"after": (0, 3)}, HOLDS, "ρ (an outlier under 1 of 2 seeds), classifies"),
    "no control near": (CONTROLS, {}, HOLDS, "lies above the majority class 0.500 [0.480, 0.520], the permuted labels"),
    "others counted": (CONTROLS, {"others": (2, 3)}, HOLDS, "at least as well as ρ is 2.5"),
    "a control as good": (CONTROLS, {"random direction": 0.9}, FAILS, "being matched by a random direction 0.900 [0.880"),
    "two as good": (
        CONTROLS,
        {"random direction": 0.93, "first principal component": 0.95},
        FAILS,
        "a random direction 0.930 [0.910, 0.950] and the first principal component 0.950 [0.930, 0.970];",
    ),
    "intervals meet": (CONTROLS, {"majority class": 0.87}, UNTOLD, "cannot be told: its interval meets the majority"),
    "no control": (CONTROLS, {"permuted labels": NAN}, UNTOLD, "since a number is missing"),
    "all persist": (
        PERSISTENCE,
        {},
        HOLDS,
        "Of 4 outlier dimensions before fine-tuning 3 are among the 3 after it, where chance gives 0.500: they persist "
        "beyond chance, p < 0.05 under 2 of 2 seeds",
    ),
    "persist at times": (
        PERSISTENCE,
        {"overlap_p_value": (0.01, 0.2)},
        "holds under 1 of 2 seeds",
        "they persist beyond chance, p < 0.05 under 1 of 2 seeds",
    ),
    "do not persist": (PERSISTENCE, {"overlap_p_value": 0.05}, FAILS, "do not persist beyond chance, p < 0.05 under 0"),
    "none before": (PERSISTENCE, {"before": 0, "shared": 0}, UNTOLD, "none could persist (3 after it; Spearman"),
    "none at all": (PERSISTENCE, {"before": 0, "after": 0, "shared": 0}, UNTOLD, "none could persist (0 after it;"),
    "overlap unknown": (PERSISTENCE, {"overlap_p_value": NAN}, UNTOLD, "whether they persist beyond chance cannot be"),
    "variance goes": (VARIANCE, {}, HOLDS, "variance goes with 1-D accuracy (Spearman's correlation 0.600"),
    "variance goes at times": (VARIANCE, {"correlation_p_value": (0.5, 0.01)}, "holds under 1 of 2 seeds", "1 of 2 seeds"),
    "the wrong way": (VARIANCE, {"correlation": -0.6}, FAILS, "variance does not go with 1-D accuracy"),
    "one seed without": (VARIANCE, {"correlation": (NAN, 0.6)}, HOLDS, "p < 0.05 under 1 of 1 seed"),
    "no correlation": (VARIANCE, {"correlation": NAN}, UNTOLD, "whether variance goes with 1-D accuracy cannot be told"),
}  # fmt: skip


@pytest.mark.parametrize("branch", BRANCHES)
def test_every_verdict_says_what_the_numbers_say(made_up, branch):
    claim, changed, told, clause = BRANCHES[branch]
    verdict = verdicts(made_up(changed), "bert", "rte")[claim]
    assert verdict.told == told
    assert clause in verdict.clause


def test_the_grid_of_the_paper_does_not_decide(made_up):
    assert [each.told for each in verdicts(made_up(rules=("exact",)), "bert", "rte")] == [HOLDS] * 4


def test_one_seed_has_its_own_interval(made_up):
    judged = verdicts(made_up({"principal dimension": 0.85}, seeds=(7,)), "bert", "rte")
    assert [each.told for each in judged] == [FAILS, HOLDS, HOLDS, HOLDS]
    assert "under 1 of 1 seed" in judged[PERSISTENCE].clause


def test_each_place_is_judged_by_its_own_numbers(made_up):
    result = made_up(models=("bert", "gpt2"), tasks=("rte", "sst2"))
    worse = made_up({"principal dimension": 0.6}, models=("gpt2",), tasks=("sst2",))
    others = [each for each in result.numbers if (each.where["model"], each.where["task"]) != ("gpt2", "sst2")]
    mixed = type(result)(numbers=[*others, *worse.numbers], arrays=result.arrays)
    told = {
        place: verdicts(mixed, *place)[TASK].told for place in (("bert", "sst2"), ("gpt2", "rte"), ("gpt2", "sst2"))
    }
    assert list(told.values()) == [HOLDS, HOLDS, FAILS]


def test_a_place_without_numbers_is_an_error(made_up):
    with pytest.raises(LookupError, match="gpt2"):
        verdicts(made_up(), "gpt2", "rte")


def test_there_are_three_sentences(made_up):
    told = sentences(verdicts(made_up(), "bert", "rte"))
    assert len(told) == 3
    assert all(sentence.endswith(".") and ".." not in sentence for sentence in told)
    assert "seeds; variance goes" in told[2]
