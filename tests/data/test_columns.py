from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dimscope.core.errors import UnknownName, UserError
from dimscope.data.columns import class_column, class_values, text_columns, to_split
from dimscope.data.files import Table
from dimscope.data.options import TaskOptions


@pytest.mark.parametrize(
    ("columns", "asked", "found"),
    [
        (["id", "text", "label"], {}, ("text",)),
        ([" Review ", "Sentiment"], {}, (" Review ",)),
        (["idx", "sentence", "label"], {}, ("sentence",)),
        (["sentence1", "sentence2"], {}, ("sentence1", "sentence2")),
        (["question", "sentence", "label"], {}, ("question", "sentence")),
        (["question1", "question2"], {}, ("question1", "question2")),
        (["hypothesis", "premise"], {}, ("premise", "hypothesis")),
        (["text", "title"], {"text_column": "title"}, ("title",)),
        (["premise", "hypothesis"], {"text_column": "premise"}, ("premise",)),
        (["text", "title"], {"text_column": "title", "pair_column": "text"}, ("title", "text")),
    ],
)
def test_text_columns(columns: list[str], asked: dict[str, Any], found: tuple[str, ...]):
    assert text_columns(columns, TaskOptions(**asked)) == found


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (["body", "stars"], r"found 0 among the columns 'body', 'stars': choose with --text-column"),
        (["text", "content"], r"found 2 among the columns 'text', 'content'"),
        (["sentence1", "sentence2", "premise", "hypothesis"], "found 2"),
        (["sentence1"], "found 0"),
    ],
)
def test_text_columns_that_are_not_told(columns: list[str], told: str):
    with pytest.raises(UserError, match=told):
        text_columns(columns, TaskOptions())


def test_class_columns():
    assert class_column(["text", "CLASS"], TaskOptions()) == "CLASS"
    assert class_column(["label", "stars"], TaskOptions(label_column="stars")) == "stars"
    with pytest.raises(UserError, match=r"hold the class, found 0 among .*'stars': choose with --label-column"):
        class_column(["text", "stars"], TaskOptions())
    with pytest.raises(UserError, match="found 2"):
        class_column(["label", "target"], TaskOptions())


def test_a_column_that_is_not_there_is_told_with_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown column 'txt'. Did you mean 'text'\? Known: text, label"):
        text_columns(["text", "label"], TaskOptions(text_column="txt"))
    with pytest.raises(UnknownName, match="Did you mean 'label'"):
        class_column(["text", "label"], TaskOptions(label_column="lable"))
    with pytest.raises(UnknownName, match="unknown column 'label'"):
        class_values(Table({"text": ["a"]}), "label")


def test_a_pair_needs_both_columns():
    with pytest.raises(UserError, match="--text-column"):
        text_columns(["text", "title"], TaskOptions(pair_column="title"))


def test_texts_may_be_empty_or_numbers():
    split = to_split(Table({"a": ["", 7, 0.5], "b": ["NA", "nan", " "]}), ["a", "b"], np.array([0, 1, 1]))
    assert list(split.inputs()) == [("", "NA"), ("7", "nan"), ("0.5", " ")]
    assert to_split(Table({"a": ["x"]}), ["a"], np.array([0])).pairs is None


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_missing_texts_are_counted_and_placed(missing: object):
    table = Table({"text": ["a", missing, "b", missing]})
    with pytest.raises(UserError, match=r"2 of 4 rows have no value in the column 'text'; the first is row 2"):
        to_split(table, ["text"], np.zeros(4, np.int64))


@pytest.mark.parametrize("missing", [None, float("nan"), "", "  "])
def test_missing_classes_are_counted_and_placed(missing: object):
    with pytest.raises(UserError, match=r"1 of 3 rows have no value in the column 'label'; the first is row 3"):
        class_values(Table({"label": [1, "x", missing]}), "label")


def test_what_is_no_text_is_told():
    with pytest.raises(UserError, match=r"wanted a text in row 2 of the column 'text', got \['b'\]"):
        to_split(Table({"text": ["a", ["b"]]}), ["text"], np.zeros(2, np.int64))
