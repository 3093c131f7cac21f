from __future__ import annotations

from pathlib import Path

import pytest

from dimscope.core.errors import UnknownName, UserError
from dimscope.data.options import TaskOptions
from dimscope.data.own import read_own


def test_one_file_has_no_split_of_its_own(tmp_path: Path):
    (tmp_path / "x.csv").write_text('id,Text,Label\n1,"a, b",yes\n2,c,no\n')
    found = read_own(tmp_path / "x.csv", TaskOptions())
    assert found.label_names == ("no", "yes")
    assert found.train.texts == ("a, b", "c")
    assert found.train.labels.tolist() == [1, 0]
    assert (found.train.pairs, found.validation, found.notes) == (None, None, ())


def test_a_second_file_is_held_out_whatever_its_kind_and_order_of_columns(tmp_path: Path):
    (tmp_path / "x.csv").write_bytes(b"one,two,stars\na,b,2\nc,d\xe9,1\n")
    (tmp_path / "y.jsonl").write_text('{"stars": 1, "two": "f", "one": "e"}\n')
    options = TaskOptions(
        text_column="one", pair_column="two", label_column="stars", validation_file=tmp_path / "y.jsonl"
    )
    found = read_own(tmp_path / "x.csv", options)
    assert list(found.train.inputs()) == [("a", "b"), ("c", "dé")]
    assert found.validation is not None
    assert list(found.validation.inputs()) == [("e", "f")]
    assert (found.train.labels.tolist(), found.validation.labels.tolist()) == ([1, 0], [0])
    assert found.notes == ("x.csv is not UTF-8 and is read as cp1252",)


def test_a_second_file_needs_the_same_columns_and_classes(tmp_path: Path):
    (tmp_path / "x.csv").write_text("text,label\na,1\nb,0\n")
    (tmp_path / "y.csv").write_text("text,target\na,1\n")
    (tmp_path / "z.csv").write_text("text,label\na,2\n")
    with pytest.raises(UnknownName, match="unknown column 'label'"):
        read_own(tmp_path / "x.csv", TaskOptions(validation_file=tmp_path / "y.csv"))
    with pytest.raises(UserError, match="training data lack: 2"):
        read_own(tmp_path / "x.csv", TaskOptions(validation_file=tmp_path / "z.csv"))
