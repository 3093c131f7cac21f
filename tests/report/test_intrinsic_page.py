import re

import pytest

from dimscope.core.result import Result
from dimscope.report.intrinsic_page import models_and_tasks, page
from dimscope.report.page import render, to_markdown_page
from dimscope.report.theme import to_png, to_spec

NOTHING_ELSE = {
    "structure-aware": None,
    "random weights": None,
    "permuted labels": None,
    "step 0": None,
    "step 100": None,
    "best_error_bound": None,
    "biases": None,
    "head": None,
}
STUDIES = {
    "whole": {},
    "the plain search alone": NOTHING_ELSE,
    "nothing passed": {"plain": {300: 0.5}, "step 0": {300: 0.5}},
    "everything passed": {"plain": {300: 0.8}, "step 100": {300: 0.8}},
}


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_a_whole_page(made_up_search, name):
    written = page(made_up_search(STUDIES[name]))
    assert list(written.answers) == ["bert on rte"]
    assert len(written.answers["bert on rte"]) == 7
    text = to_markdown_page(written)
    assert not re.search(r"\b(nan|None|num_\w+)\b", text)
    assert render(written).count("<figure") == sum(len(section.figures) for section in written.sections)
    for section in written.sections:
        for figure in section.figures:
            assert to_png(figure.chart)[1:4] == b"PNG"


def test_ours_stand_beside_what_was_published(made_up_search):
    (table,) = (table for table in page(made_up_search()).tables if table.name == "d90")
    rows = table.frame.to_dict("records")
    assert (rows[0]["plain"], rows[0]["structure-aware"], rows[0]["source"]) == ("300 to 1,000",) * 2 + ("this study",)
    assert {row["source"] for row in rows[1:]} == {"published, other models and tasks"}
    assert {"model": "RoBERTa-large", "task": "MRPC", "plain": "322", "structure-aware": "207"}.items() <= rows[
        7
    ].items()


def test_an_open_bracket_is_a_bar_without_a_dot(made_up_search):
    written = page(made_up_search({"step 0": {100: 0.1, 3000: 0.5}}))
    (figure,) = (f for section in written.sections for f in section.figures if f.name == "pretraining-rte")
    (rows,) = to_spec(figure.chart)["datasets"].values()
    assert [(row["low"], row["high"], row["failing"], row["passing"]) for row in rows] == [
        (3000, 3000, 3000, None),
        (100, 300, 100, 300),
    ]


def test_the_bound_has_its_control_beside_it(made_up_search):
    (table,) = (table for table in page(made_up_search()).tables if table.name == "bound")
    (row,) = table.frame.to_dict("records")
    assert len(row) == 2 + 8
    assert table.exact is not None
    assert set(table.exact["name"]) >= {"best_error_bound", "majority_error", "gap"}


def test_every_model_and_task_has_its_curves(made_up_search):
    # The small encoder is the task's, and so it stands once for each.
    several = [
        made_up_search({} if model == "bert" else {"step 0": None, "step 100": None}, model=model, task=task)
        for model in ("bert", "a/b")
        for task in ("rte", "sst2")
    ]
    whole = Result(numbers=[number for result in several for number in result.numbers], settings=several[0].settings)
    cells = models_and_tasks(whole)
    assert cells == [("bert", "rte"), ("bert", "sst2"), ("a/b", "rte"), ("a/b", "sst2")]
    written = page(whole)
    assert [figure.name for figure in written.sections[0].figures][2:] == ["d_curve-a_b-rte", "d_curve-a_b-sst2"]
    assert len(next(table for table in written.tables if table.name == "ways").frame) == 4 * 2
