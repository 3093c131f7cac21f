import pytest

from dimscope.core.result import Number, Result
from dimscope.report.recall_claims import best_layer, cause, verdicts
from dimscope.report.verdict import FAILS, HOLDS, UNMEASURED, UNTOLD

FEW, SUBJECT, WEIGHTED, VECTOR, LOWERS, BACK = range(6)
PLACE = {"model": "gpt2", "task": "prompts/capitals"}


def made_up(changed, **place):
    """Give the numbers of a study in which all claims hold, but for what is changed; None leaves a piece out."""
    of = {
        "carried": 0.7,
        "above": (0.8, 0.7, 0.9),
        "attention": (0.4, 0.3, 0.5),
        "r2": (0.6, 0.5, 0.7),
        "scrambled prompts": (-0.1, -0.2, 0.0),
        "scrambled subjects": (0.2, 0.1, 0.3),
        "condition": 4.0,
        "raised": (0.9, 0.8, 1.0),
        "random": (0.4, 0.3, 0.5),
        "change": (-0.2, -0.3, -0.1),
        "all": (-0.1, -0.2, 0.0),
        "responsible": (-0.5, -0.7, -0.3),
        "mitigated": (0.2, 0.1, 0.3),
        "control": (0.0, -0.05, 0.05),
        **changed,
    }

    def number(name, told, **where):
        value, *ends = told if isinstance(told, tuple) else (told,)
        return Number(name=name, value=value, interval=tuple(ends) or None, where={**PLACE, **place, **where})

    pieces = {
        "movers": [
            number("carried_fraction", of["carried"], heads="8.1, 9.8"),
            number("even_fraction", 0.01, heads="8.1, 9.8"),
            number("patched_share", (0.5, 0.4, 0.6), layer=9, head=8, rank=1),
            number("patched_share", (0.3, 0.2, 0.4), layer=8, head=1, rank=2),
        ],
        "reweighting": [
            number("subject_above_answer_fraction", of["above"], message="all heads"),
            *(number("median_rank", rank, message="all heads", output=output) for output, rank in RANKS.items()),
            number("attention_to_subject", of["attention"], head="9.8"),
            number("attention_to_subject", (0.1, 0.05, 0.15), head="others of these layers"),
            *(each for layer in (9, 10) for each in _layer(number, of, layer)),
        ],
        "last layer": _last(number, of["change"]),
        "last layer, all prompts": _last(number, of["all"]),
        "mitigation": [
            number("responsible_share", of["responsible"], scaled="11.mlp"),
            *(
                number(f"{metric}_change", of[value] if dose == 0.5 else -1.0, scaled=scaled, dose=dose)
                for metric in ("probability", "accuracy")
                for scaled, value in {"11.mlp": "mitigated", "other layers": "control"}.items()
                for dose in (0.5, 1.0)
            ),
        ],
    }
    left = {name: numbers for name, numbers in pieces.items() if changed.get(name, True) is not None}
    return Result(
        numbers=[
            Number(name=n.name, value=n.value, interval=n.interval, where={**n.where, "piece": name})
            for name, numbers in left.items()
            for n in numbers
        ]
    )


SHARES = {"all heads": (-0.1, -0.2, 0.0), "MLP": (0.3, 0.2, 0.4), "norm's scale": (-0.5, -0.6, -0.4)}
RANKS = {"subject": 3.0, "answer": 2000.0}


def _layer(number, of, layer):
    share = 1 if layer == 10 else 0.5  # layer 10 is the best one
    yield number("r2_score", tuple(share * each for each in of["r2"]), layer=layer, fit="heads")
    for name in ("scrambled prompts", "scrambled subjects"):
        yield number("r2_score", of[name], layer=layer, fit=name)
    yield number("weight", (-0.9, -1.0, -0.8), layer=layer, head="9.8")
    yield number("condition_number", of["condition"], layer=layer)
    yield number("raised_fraction", tuple(share * each for each in of["raised"]), layer=layer, added="intercept")
    yield number("raised_fraction", of["random"], layer=layer, added="random vector")
    yield number("median_rank", 40.0, message="all heads and intercept", output="answer", layer=layer)


def _last(number, change):
    return [
        number("probability_change", change, output="answer"),
        number("lowered_fraction", (0.9, 0.8, 1.0), output="answer"),
        *(number("mean_log_probability_share", share, part=part) for part, share in SHARES.items()),
        number("mean_probability", 0.9, layer=10),
        number("mean_probability", 0.6, layer=11),
    ]


BRANCHES = {
    "few": (FEW, {}, HOLDS, "The heads 8.1, 9.8 have 70% of what all heads send to the logits directly, either way"),
    "strongest": (FEW, {}, HOLDS, "(all alike would have 1%); the strongest, 9.8, sends 0.500 [0.400, 0.600]"),
    "many": (FEW, {"carried": 0.4}, FAILS, "not more than half"),
    "no heads": (FEW, {"movers": None}, UNMEASURED, "not measured"),
    "subject": (SUBJECT, {}, HOLDS, "in 0.800 [0.700, 0.900] of the prompts (median ranks 3 and 2,000)"),
    "attention": (SUBJECT, {}, HOLDS, "1 of 1 attend to the subject more than the other heads of their layers do (0.100)"),
    "no attention": (SUBJECT, {"attention": (0.2, 0.05, 0.4)}, HOLDS, "0 of 1 attend"),
    "answer": (SUBJECT, {"above": (0.2, 0.1, 0.3)}, FAILS, "is not so here"),
    "either": (SUBJECT, {"above": (0.55, 0.4, 0.7)}, UNTOLD, "cannot be told"),
    "nothing written": (SUBJECT, {"reweighting": None}, UNMEASURED, "not measured"),
    "weighted": (WEIGHTED, {}, HOLDS, "at best (layer 10, of 2 tried) 0.600 [0.500, 0.700] of an MLP's output"),
    "weights": (WEIGHTED, {}, HOLDS, "the weights there are 9.8 -0.900 [-1.000, -0.800] (condition number 4)"),
    "collinear": (WEIGHTED, {"condition": 99.0}, HOLDS, "(condition number 99, so that others would fit as well)"),
    "sentence": (WEIGHTED, {"scrambled subjects": (0.6, 0.5, 0.7)}, FAILS, "is not so here"),
    "perhaps": (WEIGHTED, {"scrambled subjects": (0.5, 0.4, 0.55)}, UNTOLD, "cannot be told"),
    "next to nothing": (WEIGHTED, {"r2": (0.02, 0.01, 0.03)}, FAILS, "next to nothing"),
    "not weighted": (WEIGHTED, {"r2": (0.1, -0.3, 0.3)}, FAILS, "is not so here"),
    "vector": (VECTOR, {}, HOLDS, "The vector of layer 10's MLP, which is the same for all prompts"),
    "vector's rank": (VECTOR, {}, HOLDS, "0.900 [0.800, 1.000] of the prompts (its median rank from 2,000 to 40)"),
    "any vector": (VECTOR, {"random": (0.95, 0.9, 1.0)}, FAILS, "is not so here"),
    "lowers": (LOWERS, {}, HOLDS, "probability by -0.200 [-0.300, -0.100], to 0.600, and lowers it in 0.900"),
    "all prompts": (LOWERS, {}, HOLDS, "(of all prompts: by -0.100 [-0.200, 0.000], in 0.900 [0.800, 1.000])"),
    "parts": (LOWERS, {}, HOLDS, "the heads' -0.100 [-0.200, 0.000], the MLP's 0.300 [0.200, 0.400], and that of the"),
    "raises": (LOWERS, {"change": (0.2, 0.1, 0.3)}, FAILS, "it raises it on average"),
    "lowers or not": (LOWERS, {"change": (-0.1, -0.2, 0.1)}, UNTOLD, "cannot be told"),
    "no last layer": (LOWERS, {"last layer": None}, UNMEASURED, "not measured"),
    "taken back": (BACK, {}, HOLDS, "is 11.mlp (-0.500 [-0.700, -0.300] nats); on prompts drawn anew, with it times 0.5"),
    "best dose": (BACK, {}, HOLDS, "by 0.200 [0.100, 0.300], the most of 2 doses (in other layers by 0.000 [-0.050,"),
    "nothing to take": (BACK, {"responsible": (-0.1, -0.3, 0.1)}, UNTOLD, "there is no part to make smaller"),
    "worse": (BACK, {"mitigated": (-0.2, -0.3, -0.1)}, FAILS, "is not so here"),
    "as elsewhere": (BACK, {"control": (0.3, 0.2, 0.35)}, FAILS, "is not so here"),
    "perhaps as elsewhere": (BACK, {"control": (0.1, 0.0, 0.15)}, UNTOLD, "cannot be told"),
    "not scaled": (BACK, {"mitigation": None}, UNMEASURED, "not measured"),
}  # fmt: skip


@pytest.mark.parametrize("branch", BRANCHES)
def test_every_verdict_says_what_the_numbers_say(branch):
    claim, changed, told, clause = BRANCHES[branch]
    verdict = verdicts(made_up(changed), **PLACE)[claim]
    assert verdict.told == told
    assert clause in verdict.clause


def test_each_place_is_judged_by_its_own_numbers():
    both = Result(numbers=[*made_up({}).numbers, *made_up({"carried": 0.1}, model="opt").numbers])
    assert verdicts(both, **PLACE)[FEW].told == HOLDS
    assert verdicts(both, "opt", "prompts/capitals")[FEW].told == FAILS
    assert {each.told for each in verdicts(both, "llama", "prompts/capitals")} == {UNMEASURED}
    assert best_layer(both.only(piece="reweighting", model="opt")) == 10


CAUSES = {
    "noise": ((-0.3, -0.4, -0.2), (0.0, -0.1, 0.1), HOLDS, "with noise alone"),
    "noise, and it rises without": ((-0.3, -0.4, -0.2), (0.2, 0.1, 0.3), HOLDS, "with noise alone"),
    "never": ((0.3, 0.2, 0.4), (0.2, 0.1, 0.3), FAILS, "even with noise it raises the answer"),
    "always": ((-0.3, -0.4, -0.2), (-0.2, -0.3, -0.1), FAILS, "noise is not the cause"),
    "perhaps": ((-0.1, -0.2, 0.1), (0.0, -0.1, 0.1), UNTOLD, "cannot be told"),
}


@pytest.mark.parametrize("branch", CAUSES)
def test_noise_is_the_cause_if_nothing_is_lowered_without_it(branch):
    noisy, clean, told, clause = CAUSES[branch]
    verdict = cause(*(made_up({"change": each}).only(piece="last layer") for each in (noisy, clean)), 0.3)
    assert verdict.told == told
    assert clause in verdict.clause
    assert "Where 30% of the training answers are wrong" in verdict.clause
    assert "(to 0.600, where 70% would be as sure as the data allow)" in verdict.clause


def test_a_cause_that_was_not_looked_for_is_not_told():
    assert cause(Result(numbers=[]), Result(numbers=[]), 0.3).told == UNMEASURED
