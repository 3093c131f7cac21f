from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dimscope.core.errors import UnknownName, UserError
from dimscope.data import catalogue
from dimscope.data.catalogue import fetch_task, load_task
from dimscope.data.options import TaskOptions
from dimscope.data.task import Labeled, Split


def rows(count: int, delimiter: str = ",", header: str = "text,label") -> str:
    lines = [header, *(f"sentence {number},{number % 2}" for number in range(count))]
    return "\n".join(lines).replace(",", delimiter) + "\n"


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    (tmp_path / "reviews.csv").write_text(rows(50))
    return tmp_path / "reviews.csv"


@pytest.fixture
def sst2(tmp_path: Path) -> Path:
    folder = tmp_path / "SST-2"
    folder.mkdir()
    (folder / "train.tsv").write_text(rows(8, "\t", "sentence,label"))
    (folder / "dev.tsv").write_text("sentence\tlabel\nx\t1\n")
    return folder


def test_a_file_is_a_task_and_always_the_same(reviews: Path):
    task, again = load_task(str(reviews)), load_task(str(reviews))
    assert (task.name, task.label_names) == ("reviews", ("0", "1"))
    assert (len(task.train), len(task.validation)) == (44, 6)
    assert task.digest == again.digest != load_task(str(reviews), TaskOptions(limit=10)).digest


@pytest.mark.parametrize("named", ["glue/sst2@{}", "{}"])
def test_a_folder_of_glue_is_found_by_either_name(sst2: Path, named: str):
    task = load_task(named.format(sst2))
    assert (task.name, task.label_names) == ("glue/sst2", ("negative", "positive"))
    assert (len(task.train), task.validation.texts) == (8, ("x",))


def test_glue_without_a_folder_comes_from_the_hub(sst2: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalogue, "hub_folder", lambda task: sst2 if task == "sst2" else None)
    assert load_task("glue/sst2").validation.texts == ("x",)


def test_the_band_reaches_the_graded_tasks(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def graded(task: str, band: float) -> Labeled:
        asked.append((task, band))
        return Labeled(("negative", "positive"), Split(tuple("abcd"), np.array([0, 1, 0, 1])))

    monkeypatch.setattr(catalogue, "snippets", graded)
    assert load_task("snippets/tweets", TaskOptions(neutral_band=0.5)).name == "snippets/tweets"
    assert asked == [("snippets/tweets", 0.5)]


@pytest.mark.parametrize(
    ("task", "options", "named"),
    [
        ("movie_reviews", {"label_column": "x"}, "label_column"),
        ("movie_reviews", {"neutral_band": 1.0}, "neutral_band"),
        ("snippets", {"text_column": "x"}, "text_column"),
        ("glue/sst2", {"validation_fraction": 0.3}, "validation_fraction"),
        ("reviews.csv", {"neutral_band": 1.0}, "neutral_band"),
        ("reviews.csv", {"validation_file": Path("y.csv"), "validation_fraction": 0.3}, "validation_fraction"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused_before_anything_is_read(
    task: str, options: dict[str, object], named: str
):
    with pytest.raises(UserError, match=f"takes no {named}: leave that out"):
        load_task(task, TaskOptions(**options))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("movie_review", "unknown task 'movie_review'. Did you mean 'movie_reviews'"),
        ("sst2", "Did you mean 'glue/sst2'"),
        ("glue/cola", "unknown task 'glue/cola'"),
        ("snippets/movies", "unknown task"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(name: str, told: str):
    with pytest.raises(UnknownName, match=told):
        load_task(name)
    with pytest.raises(UnknownName, match="unknown task"):
        fetch_task(name)


def test_prompts_are_no_task_with_classes_and_nothing_to_fetch():
    with pytest.raises(UserError, match="wanted a task with classes, got 'prompts/capitals'"):
        load_task("prompts/capitals")
    with pytest.raises(UserError, match="nothing to fetch"):
        fetch_task("prompts/capitals")
    with pytest.raises(UnknownName, match="Did you mean 'prompts/capitals'"):
        load_task("prompts/capitls")


def test_files_and_folders_that_are_none_are_told(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="there is no file"):
        load_task(str(tmp_path / "missing.csv"))
    with pytest.raises(UserError, match="wanted a file that ends with"):
        load_task(str(tmp_path / "notes.txt"))
    with pytest.raises(UserError, match="not named like a task of GLUE"):
        load_task(str(tmp_path))
    with pytest.raises(UserError, match="wanted one file train"):
        load_task(f"glue/sst2@{tmp_path / 'missing'}")
