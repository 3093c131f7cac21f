import re
from dataclasses import replace

import numpy as np
import pytest

from dimscope.core.result import Array, Number, Result
from dimscope.report.circuit_page import models_of, page
from dimscope.report.page import render, to_markdown_page
from dimscope.report.theme import to_png, to_spec

KNOWN, REUSING = "prompts/indirect_objects", "prompts/colored_objects"
SMALL = f"{REUSING}/small"
MODEL = "llama"


def number(name, value, near=0.05, **where):
    interval = None if near is None else (value - near, value + near)
    return Number(name=name, value=value, interval=interval, where={"model": MODEL, **where})


def accuracies(task):
    where = {"part": "accuracy", "task": task, "text": "prompt"}
    return [
        number("mean_logit_difference", 2.5, **where),
        number("constant_accuracy", 0.1, None, **where),
        *(number("accuracy", 0.8, **where, among=among) for among in ("outputs", "options")),
        *(number("chance_accuracy", 0.4, None, **where, among=among) for among in ("outputs", "options")),
    ]


def circuit(task):
    """Two stages of 3 layers and 2 heads: 2.0 and 2.1 to the logits, 0.1 to both of them."""
    first, second = np.zeros((3, 2)), np.zeros((3, 2))
    first[2], second[0, 1] = [0.8, -0.2], 0.5
    where = {"part": "circuit", "task": task}
    numbers = []
    for stage, reach, shares in ((1, 3, first), (2, 2, second)):
        numbers.append(number("reach", reach, None, **where, stage=stage))
        for rank, (layer, head) in enumerate(np.argwhere(shares), start=1):
            at = {"stage": stage, "layer": int(layer), "head": int(head), "rank": rank}
            numbers.append(number("patched_share", shares[layer, head], **where, **at))
    edges = [(1, "2.0", "logits", 0.8), (1, "2.1", "logits", -0.2), (2, "0.1", "2.0", 0.4), (2, "0.1", "2.1", 0.0)]
    numbers += [number("edge_share", score, **where, stage=n, sender=a, receiver=b) for n, a, b, score in edges]
    arrays = {
        f"{MODEL} on {task}, circuit/stage {stage}": Array(shares, ("layer", "head"))
        for stage, shares in ((1, first), (2, second))
    }
    return numbers, arrays


def overlap():
    numbers = []
    for percent in (1, 2, 5, 10):
        for stage in ("1", "all"):
            where = {"part": "overlap", "task": REUSING, "stage": stage, "percent": percent}
            values = {
                "num_top_heads": 4,
                "num_shared_heads": 3,
                "shared_fraction": 0.75,
                "shared_by_chance_within_layers": 1,
                "shared_p_value": 0.01,
                "shared_p_value_within_layers": 0.02,
            }
            numbers += [number(name, value, None, **where) for name, value in values.items()]
            numbers.append(number("shared_by_chance", 0.4, 0.4, **where))
    return numbers


def intervention(choice, after):
    where = {"part": "intervention", "task": REUSING, "choice": choice}
    numbers = [number("num_forced_heads", 2, None, **where, heads="0.1 2.1")]
    for among in ("outputs", "options"):
        for forced, value in (("nothing", 0.5), ("chosen heads", after), ("random heads", 0.51)):
            numbers.append(number("accuracy", value, **where, among=among, forced=forced))
        numbers.append(number("accuracy_change", after - 0.5, **where, among=among, forced="chosen heads"))
        numbers.append(number("newly_wrong_fraction", 0.02, **where, among=among, forced="chosen heads"))
    for place in ("other_color", "third_color", "answer_color"):
        numbers.append(number("watched_attention", 0.3, **where, place=place, forced="nothing"))
        numbers.append(number("watched_attention", 0.2, **where, place=place, forced="chosen heads"))
        numbers.append(number("watched_attention_change", -0.1, **where, place=place))
    return numbers


def single_heads():
    """Each head forced alone, and one blocked."""
    where = {"part": "each head forced", "task": REUSING}
    numbers = [
        number("change_of_logit_difference", 1.5, **where, layer=0, head=1, rank=1),
        number("rank_correlation", 0.6, 0.2, **where),
        number("rank_correlation_p_value", 0.01, None, **where),
        number("num_correlated_heads", 6, None, **where),
    ]
    where = {"part": "blocking", "task": REUSING}
    numbers.append(number("num_blocked_heads", 1, None, **where, heads="0.1"))
    for among in ("outputs", "options"):
        for blocked, value in (("nothing", 0.5), ("chosen heads", 0.3), ("random heads", 0.48)):
            numbers.append(number("accuracy", value, **where, among=among, blocked=blocked))
        numbers.append(number("accuracy_change", -0.2, **where, among=among, blocked="chosen heads"))
    changes = np.array([[0.0, 1.5], [0.0, 0.1], [-0.5, 0.0]])
    return numbers, {f"{MODEL} on {REUSING}, each head forced/change": Array(changes, ("layer", "head"))}


def study(*parts):
    measured = {
        "circuits": [circuit(task) for task in (KNOWN, REUSING)],
        "overlap": [(overlap(), {})],
        "single heads": [single_heads()],
        "intervention": [(intervention("all", 0.9), {}), (intervention("negative mover", 0.7), {})],
    }
    found = [(accuracies(KNOWN) + accuracies(REUSING), {}), *(each for name in parts for each in measured[name])]
    return Result(
        numbers=[each for numbers, _ in found for each in numbers],
        arrays={name: array for _, arrays in found for name, array in arrays.items()},
        notes=["a note"],
        settings={
            "models": [MODEL],
            "tasks": [KNOWN, REUSING],
            "scratch_tasks": [KNOWN, SMALL],
            "control_tasks": [],
            "inputs": ["q"],
            "num_kept": 4,
            "force": {"toward": ["other_color", "third_color"]},
        },
        provenance={"seconds": 1.5},
        sources=["Somebody"],
    )


ALL = ("circuits", "overlap", "intervention", "single heads")


@pytest.mark.parametrize("parts", [ALL[:number] for number in range(5)])
def test_every_study_has_a_whole_page(parts):
    written = page(study(*parts))
    assert models_of(study(*parts)) == [MODEL]
    assert len(written.answers[MODEL]) == 7
    assert not re.search(r"\b(nan|None|num_\w+)\b", to_markdown_page(written))
    assert render(written).count("<figure") == sum(len(section.figures) for section in written.sections)
    for section in written.sections:
        for figure in section.figures:
            assert to_png(figure.chart)[1:4] == b"PNG"


def figure_of(written, name):
    return next(figure for section in written.sections for figure in section.figures if figure.name == name)


def table_of(written, name):
    return next(table for table in written.tables if table.name == name).frame


def test_layers_that_no_path_leads_from_are_empty_tiles():
    written = page(study("circuits"))
    shown = {stage: figure_of(written, f"stage-{stage}-{MODEL}-prompts_colored_objects").chart.data for stage in (1, 2)}
    assert [len(each) for each in shown.values()] == [6, 4]
    assert shown[2].set_index(["layer", "head"])["share"]["0", "1"] == 0.5


def test_the_graph_has_the_edges_along_which_something_goes():
    (rows,) = (
        each
        for each in to_spec(figure_of(page(study("circuits")), f"circuit-{MODEL}-prompts_indirect_objects").chart)[
            "datasets"
        ].values()
        if "sender" in each[0]
    )
    assert {(each["sender"], each["receiver"], each["score"]) for each in rows} == {
        ("2.0", "logits", 0.8),
        ("2.1", "logits", -0.2),
        ("0.1", "2.0", 0.4),
    }


def test_the_heads_that_were_kept_stand_in_a_table():
    rows = table_of(page(study("circuits")), "heads").to_dict("records")
    assert {"model", "task", "stage", "head", "share"} == set(rows[0])
    assert (rows[0]["head"], rows[0]["share"]) == ("2.0", "0.800 [0.750, 0.850]")
    assert rows[2]["stage"] == "2, to the queries of stage 1"
    assert len(rows) == 6


def test_ours_stand_beside_what_was_published():
    rows = table_of(page(study("circuits", "overlap", "intervention")), "published").set_index("quantity")
    assert rows.loc["accuracy, nothing forced"].tolist() == ["49.6 %", "50.0 %"]
    assert rows.loc["accuracy, inhibition heads and negative mover forced"].tolist() == ["93.7 %", "90.0 %"]
    assert rows.loc["accuracy, inhibition heads forced"].tolist() == ["81.5 %", "—"]
    assert rows.loc["top 2 % of the heads of each stage, shared"].tolist() == ["25 of 32 (78 %)", "3 of 4 (75%)"]
    assert rows.loc["rank correlation of effect and importance", MODEL] == "—"


def test_single_heads_stand_beside_what_was_published():
    written = page(study("single heads"))
    rows = table_of(written, "published").set_index("quantity")
    assert rows.loc["rank correlation of effect and importance"].tolist() == ["0.69", "0.600 [0.400, 0.800]"]
    assert rows.loc["accuracy, content gatherers blocked", MODEL] == "30.0 %, random heads 48.0 %"
    forced = table_of(written, "each_forced").to_dict("records")
    assert (forced[0]["head"], forced[0]["change of the logit difference"]) == ("0.1", "1.500 [1.450, 1.550]")
    tiles = figure_of(written, f"forced-{MODEL}-prompts_colored_objects").chart.data.set_index(["layer", "head"])
    assert tiles["change of the logit difference"]["2", "0"] == -0.5
    assert table_of(written, "blocking").loc[0, "after, vocabulary"] == "0.300 [0.250, 0.350]"


def test_a_model_trained_here_is_judged_by_its_own_tasks():
    studied = study(*ALL)
    numbers = [
        replace(each, where={**each.where, "model": "trained", "task": each.where["task"].replace(REUSING, SMALL)})
        for each in studied.numbers
    ]
    arrays = {name.replace(MODEL, "trained").replace(REUSING, SMALL): each for name, each in studied.arrays.items()}
    written = page(replace(studied, numbers=[*studied.numbers, *numbers], arrays={**studied.arrays, **arrays}))
    told = [list(written.answers[model]) for model in (MODEL, "trained")]
    assert [each.replace("colored objects/small", "colored objects") for each in told[1]] == told[0]


def test_before_after_and_random_heads_are_dots():
    data = figure_of(page(study("intervention")), "intervention").chart.data
    assert dict(zip(data["label"], data["value"], strict=True)) == {
        "inhibition heads and negative mover": 0.9,
        "negative mover": 0.7,
        "random heads": 0.51,
        "nothing forced": 0.5,
    }
