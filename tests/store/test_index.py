import json

import pandas as pd
import pytest

from dimscope.core.errors import UnknownName, UserError
from dimscope.core.result import Number, Result
from dimscope.store.index import export, query, write_summary
from dimscope.store.layout import Store


@pytest.fixture
def folder(tmp_path):
    for seed, value in ((1, 0.5), (2, 0.7)):
        number = Number(name="accuracy", value=value, better="higher", where={"model": "=m/1", "seed": seed})
        Store(tmp_path).save_run(
            "measure/x", str(seed), Result(numbers=[number], method="measure/x", settings={"factor": 5})
        )
    return tmp_path


def test_a_question_in_sql_is_answered(folder):
    frame = query(
        folder,
        "SELECT model, round(avg(value), 3) AS mean FROM numbers WHERE setting_factor = '5' GROUP BY model",
    )
    assert frame.to_dict("list") == {"model": ["=m/1"], "mean": [0.6]}


def test_what_a_recipe_pooled_is_a_table_of_its_own_and_counts_nothing_twice(folder):
    runs = Store(folder).runs()
    singles = [number for run in runs for number in run.numbers]
    mean = Number(
        name="accuracy", value=0.6, interval=(0.4, 0.8), better="higher", where={"model": "=m/1", "seed": "all"}
    )
    Store(folder).save_run(
        "recipe/r", "1", Result(numbers=[*singles, mean], method="recipe/r", settings={"models": "m"})
    )
    assert query(folder, "SELECT count(*) AS n, sum(value) AS total FROM numbers").to_dict("list") == {
        "n": [2],
        "total": [1.2],
    }
    (row,) = query(folder, "SELECT * FROM pooled").to_dict("records")
    assert (row["value"], row["low"], row["high"], row["seed"], row["method"]) == (0.6, 0.4, 0.8, "all", "recipe/r")
    assert [path.name for path in export(folder, "seed", "csv", folder / "export")] == ["1.csv", "2.csv"]


def test_where_no_recipe_pooled_anything_there_is_no_such_table(folder):
    with pytest.raises(UserError, match="pooled does not exist"):
        query(folder, "SELECT * FROM pooled")


def test_a_question_that_is_none_is_told(folder):
    with pytest.raises(UserError, match="could not be answered"):
        query(folder, "SELECT nothing FROM nowhere")


def test_a_question_cannot_reach_other_files(folder):
    secret = folder / "secret.csv"
    secret.write_text("a\n1\n")
    with pytest.raises(UserError):
        query(folder, f"SELECT * FROM '{secret}'")


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(UserError, match="finished runs"):
        query(tmp_path, "SELECT 1")


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_export_writes_one_file_for_each_value(folder, format):
    paths = export(folder, "seed", format, folder / "export")
    assert [path.name for path in paths] == [f"1.{format}", f"2.{format}"]
    read = pd.read_csv if format == "csv" else pd.read_parquet
    assert [read(path)["value"].tolist() for path in paths] == [[0.5], [0.7]]


def test_exported_text_is_no_formula_and_names_are_safe(folder):
    (path,) = export(folder, "model", "csv", folder / "export")
    assert path.name == "-m-1.csv"
    assert pd.read_csv(path)["model"].tolist() == ["'=m/1", "'=m/1"]


def test_an_unknown_column_is_told(folder):
    with pytest.raises(UnknownName, match="Did you mean 'model'"):
        export(folder, "modle", "csv", folder / "export")


def test_the_summary_is_in_the_schema(tmp_path):
    write_summary(tmp_path, "r", [Number(name="a", value=float("nan"), where={"model": "m"})])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["schema"], summary["recipe"]) == (1, "r")
    assert summary["numbers"][0] == {
        "name": "a",
        "value": None,
        "unit": "",
        "better": None,
        "interval": None,
        "where": {"model": "m"},
    }
