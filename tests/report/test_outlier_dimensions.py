from __future__ import annotations

import re

import pytest

from dimscope.report.outlier_dimensions import models_and_tasks, page
from dimscope.report.page import render, to_markdown_page

NAN = float("nan")
NONE = {"before": 0, "after": 0, "shared": 0, "overlap_p_value": 1.0}
STUDIES = {
    "plain": {},
    "no outliers": {"changed": NONE},
    "one seed": {"seeds": (3,)},
    "no correlation": {"changed": {"correlation": NAN, "correlation_p_value": NAN}},
    "many": {"models": ("bert", "gpt2", "a/long name of a model"), "tasks": ("rte", "sst2"), "seeds": (1, 2, 3)},
    "several classes": {"rules": ("exact",)},
}


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_a_whole_page(made_up, name):
    result = made_up(**STUDIES[name])
    written = page(result)
    cells = models_and_tasks(result)
    assert list(written.answers) == [f"{model} on {task}" for model, task in cells]
    assert written.verdicts.frame[["model", "task"]].to_numpy().tolist() == [list(cell) for cell in cells]
    assert [len(section.figures) for section in written.sections] == [
        1,
        *[len(cells)] * 3,
        len({model for model, _ in cells}),
        *[len(cells)] * 3,
    ]
    assert all(section.reading for section in written.sections)
    text = to_markdown_page(written)
    assert not re.search(r"\b(nan|None|num_\w+)\b", text)
    assert render(written).count("<figure") == sum(len(section.figures) for section in written.sections)


def test_numbers_have_human_names(made_up):
    written = page(made_up())
    headings = {column for table in written.tables for column in table.frame.columns}
    assert {"outliers before", "in both by chance", "Spearman's correlation", "outlier dimensions"} <= headings
    assert not [heading for heading in headings if "_" in heading]


def test_intervals_stay_where_numbers_can_be(made_up):
    result = made_up({"correlation": (0.2, 0.9)})
    (drawn,) = [
        sentence for sentence in page(result).answers["bert on rte"] if "Spearman's correlation 0.550" in sentence
    ]
    assert "0.550 [-1.000, 1.000]" in drawn


def test_verdicts_are_the_table_and_the_sentences(made_up):
    written = page(made_up({"principal dimension": 0.85}))
    assert written.verdicts.frame.iloc[0, 2:].tolist() == ["does not hold", "holds", "holds", "holds"]
    assert "does not hold here" in written.answers["bert on rte"][0]


def test_what_is_told_of_the_rule_is_what_was_set(made_up):
    assert "at least 5 times the mean variance" in page(made_up()).introduction[0]


def test_the_source_can_be_cited_from_the_page(made_up):
    (citation,) = page(made_up()).citations
    assert citation.count("{") == citation.count("}")
    assert {"author", "title", "booktitle", "year", "eprint"} <= set(re.findall(r"^  (\w+) = \{", citation, re.M))
    assert "2310.17715" in citation
    assert citation in render(page(made_up()))
