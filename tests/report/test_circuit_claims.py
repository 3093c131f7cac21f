from dataclasses import replace

import pytest

from dimscope.core.result import Number, Result
from dimscope.report.circuit_claims import Tasks, verdicts
from dimscope.report.verdict import FAILS, HOLDS, UNMEASURED, UNTOLD

TASKS = Tasks("prompts/indirect_objects", "prompts/colored_objects", ("prompts/capitals",))
DOES, REUSES, MORE, REPAIRS, AWAY, GOES_WITH, GATHERS = range(7)

TOLD = {
    "prompts/indirect_objects": (0.9, 0.5),
    "prompts/colored_objects": (0.5, 0.33),
    "prompts/capitals": (0.95, 0.25),
    "shared": 6,
    "p": 0.001,
    "p within": 0.01,
    "shared with capitals": 2,
    "before": 0.5,
    "after": 0.9,
    "change": (0.3, 0.5),
    "random": (0.4, 0.6),
    "looks": ((-0.1, -0.05), (-0.2, -0.1)),
    "correlation": (0.2, 0.8),
    "blocked": (-0.4, -0.2),
    "random blocked": (0.45, 0.55),
}
"""Numbers under which every claim holds: accuracies with chance, and ends of intervals; none was not measured."""

BRANCHES = {
    "does both": (DOES, {}, HOLDS, "Of indirect objects 0.900 [0.880, 0.920] are right among the options, where chance"),
    "does one": (DOES, {"prompts/colored_objects": (0.42, 0.33)}, FAILS, "among the whole vocabulary), so the task is not"),
    "does none": (DOES, {"prompts/indirect_objects": (0.5, 0.5), "prompts/colored_objects": (0.3, 0.33)}, FAILS, "not done"),
    "unknown": (DOES, {"prompts/colored_objects": None}, UNMEASURED, "Colored objects: not measured"),
    "reuses": (REUSES, {}, HOLDS, "24 in all, the two circuits share 6, where chance gives 0.500 (p = 0.001), and 0.900 if"),
    "by chance": (REUSES, {"p": 0.2, "p within": 0.4}, FAILS, "no more than chance"),
    "by layers": (REUSES, {"p within": 0.2}, UNTOLD, "a matter of layers alone"),
    "no second circuit": (REUSES, {"prompts/colored_objects": (0.3, 0.33)}, UNTOLD, "as it does not do colored objects"),
    "neither": (REUSES, {"prompts/indirect_objects": (0.5, 0.5), "prompts/colored_objects": (0.3, 0.33)}, UNTOLD,
                "not do indirect objects and colored objects"),
    "no overlap": (REUSES, {"shared": None}, UNMEASURED, "not measured"),
    "more": (MORE, {}, HOLDS, "shares 6 heads with colored objects and 2 with capitals: more"),
    "as many": (MORE, {"shared": 2}, UNTOLD, "as many"),
    "fewer": (MORE, {"shared": 1}, FAILS, "no more, so the claim does not hold"),
    "other not done": (MORE, {"prompts/capitals": (0.3, 0.25)}, UNMEASURED, "other tasks that the model does: not measured"),
    "no comparison": (MORE, {"prompts/colored_objects": (0.3, 0.33)}, UNTOLD, "cannot be compared"),
    "repairs": (REPAIRS, {}, HOLDS, "With 1.2 3.4 forced to look at the wrong answers, 0.900 [0.880, 0.920] of colored obj"),
    "no task to repair from": (REPAIRS, {"prompts/indirect_objects": (0.5, 0.5)}, UNTOLD, "these heads are of no circuit"),
    # What is claimed is a repair: it does not take that the second task is done.
    "repairs what is not done": (REPAIRS, {"prompts/colored_objects": (0.3, 0.33)}, HOLDS, "than with random heads"),
    "random does too": (REPAIRS, {"random": (0.7, 0.95)}, FAILS, "random heads do as much"),
    "falls": (REPAIRS, {"change": (-0.3, -0.1)}, FAILS, "it does not rise"),
    "perhaps": (REPAIRS, {"change": (-0.1, 0.2)}, UNTOLD, "meets 0"),
    "nothing to repair": (REPAIRS, {"before": 0.97}, UNTOLD, "nothing to repair"),
    "nothing forced": (REPAIRS, {"after": None}, UNMEASURED, "not measured"),
    "away": (AWAY, {}, HOLDS, "changes by -0.075 [-0.100, -0.050] at the other color and -0.150"),
    "not away": (AWAY, {"looks": ((0.0, 0.1), (0.1, 0.2))}, FAILS, "no less"),
    "one away": (AWAY, {"looks": ((-0.1, -0.05), (-0.1, 0.1))}, UNTOLD, "not surely less"),
    "not movers": (AWAY, {"prompts/indirect_objects": (0.5, 0.5)}, UNTOLD, "they are no mover heads"),
    "goes with": (GOES_WITH, {}, HOLDS, "Over 90 heads, the rank correlation between what a head carries to the last token in"),
    "other way": (GOES_WITH, {"correlation": (-0.8, -0.2)}, FAILS, "the other way"),
    "no relation": (GOES_WITH, {"correlation": (-0.2, 0.3)}, UNTOLD, "the interval meets 0"),
    "no first circuit": (GOES_WITH, {"prompts/indirect_objects": (0.5, 0.5)}, UNTOLD, "tells of no circuit"),
    "no head forced": (GOES_WITH, {"correlation": None}, UNMEASURED, "not measured"),
    "gathers": (GATHERS, {}, HOLDS, "With 5.6 blocked, 0.200 [0.180, 0.220] of colored objects are right among the whole"),
    "random blocked too": (GATHERS, {"random blocked": (0.15, 0.5)}, FAILS, "random heads do as much"),
    "rises": (GATHERS, {"blocked": (0.1, 0.3)}, FAILS, "the other way"),
    "perhaps lost": (GATHERS, {"blocked": (-0.2, 0.1)}, UNTOLD, "the interval meets 0"),
    "nothing to break": (GATHERS, {"prompts/colored_objects": (0.3, 0.33)}, UNTOLD, "these heads are of no circuit"),
    "nothing blocked": (GATHERS, {"blocked": None}, UNMEASURED, "not measured"),
    "not watched": (AWAY, {"looks": None}, UNMEASURED, "not measured"),
}  # fmt: skip


def made_up(changed, model="llama"):
    told = {**TOLD, **changed}
    numbers = []
    for task in (TASKS.known, TASKS.reusing, *TASKS.others):
        if told[task]:
            value, chance = told[task]
            where = {"part": "accuracy", "task": task, "text": "prompt", "among": "options"}
            numbers += [near("accuracy", value, where), near("accuracy", value / 2, {**where, "among": "outputs"})]
            numbers.append(Number(name="chance_accuracy", value=chance, where=where))
    shared = {TASKS.reusing: told["shared"], "prompts/capitals": told["shared with capitals"]}
    for task, count in shared.items():
        if told["shared"] is not None:
            values = {
                "num_top_heads": 24,
                "num_shared_heads": count,
                "shared_by_chance": 0.5,
                "shared_by_chance_within_layers": 0.9,
                "shared_p_value": told["p"],
                "shared_p_value_within_layers": told["p within"],
            }
            where = {"part": "overlap", "task": task, "stage": "all", "percent": 2}
            numbers += [Number(name=name, value=value, where=where) for name, value in values.items()]
    where = {"part": "intervention", "task": TASKS.reusing, "choice": "all"}
    if told["after"] is not None:
        numbers.append(Number(name="num_forced_heads", value=2, where={**where, "heads": "1.2 3.4"}))
        for among in ("outputs", "options"):
            at = {**where, "among": among}
            for forced, value in (("nothing", told["before"]), ("chosen heads", told["after"])):
                numbers.append(near("accuracy", value, {**at, "forced": forced}))
            numbers.append(between("accuracy", told["random"], {**at, "forced": "random heads"}))
            numbers.append(between("accuracy_change", told["change"], {**at, "forced": "chosen heads"}))
            numbers.append(near("newly_wrong_fraction", 0.0, {**at, "forced": "chosen heads"}))
    for place, ends in zip(("other_color", "third_color"), told["looks"] or (), strict=False):
        numbers.append(between("watched_attention_change", ends, {**where, "place": place}))
    if told["correlation"]:
        where = {"part": "each head forced", "task": TASKS.reusing}
        numbers.append(between("rank_correlation", told["correlation"], where))
        numbers.append(Number(name="rank_correlation_p_value", value=0.01, where=where))
        numbers.append(Number(name="num_correlated_heads", value=90, where=where))
    if told["blocked"]:
        where = {"part": "blocking", "task": TASKS.reusing}
        numbers.append(Number(name="num_blocked_heads", value=1, where={**where, "heads": "5.6"}))
        at = {**where, "among": "outputs"}
        numbers += [
            near("accuracy", 0.5, {**at, "blocked": "nothing"}),
            near("accuracy", 0.2, {**at, "blocked": "chosen heads"}),
        ]
        numbers.append(between("accuracy", told["random blocked"], {**at, "blocked": "random heads"}))
        numbers.append(between("accuracy_change", told["blocked"], {**at, "blocked": "chosen heads"}))
    settings = {
        "models": ["llama", "one", "two"],
        "tasks": [TASKS.known, TASKS.reusing],
        "control_tasks": TASKS.others,
        "force": {"toward": ["other_color", "third_color"]},
    }
    return Result(numbers=[replace(n, where={**n.where, "model": model}) for n in numbers], settings=settings)


def near(name, value, where):
    return Number(name=name, value=value, interval=(value - 0.02, value + 0.02), where=where)


def between(name, ends, where):
    return Number(name=name, value=sum(ends) / 2, interval=ends, where=where)


@pytest.mark.parametrize("branch", BRANCHES)
def test_every_verdict_says_what_the_numbers_say(branch):
    claim, changed, told, clause = BRANCHES[branch]
    verdict = verdicts(made_up(changed), "llama")[claim]
    assert verdict.told == told
    assert clause in verdict.clause


def test_each_model_is_judged_by_its_own_numbers():
    both = [made_up({}, "one"), made_up({"p": 0.5, "change": (-0.2, -0.1)}, "two")]
    whole = Result(numbers=[number for each in both for number in each.numbers], settings=both[0].settings)
    told = {model: [each.told for each in verdicts(whole, model)] for model in ("one", "two")}
    assert told["one"] == [HOLDS] * 7
    assert told["two"][REUSES] == told["two"][REPAIRS] == FAILS
