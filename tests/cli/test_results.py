"""`dimscope report` over several studies."""

from __future__ import annotations

import json

import pytest

from dimscope.cli import results
from dimscope.cli.reproduce import opened
from dimscope.core.recipe import Recipe


@pytest.fixture(scope="module")
def studies(dimscope, study, write_reviews, tmp_path_factory):
    """Give a folder with two studies of one seed, of a model each, trained for different times."""
    folder = tmp_path_factory.mktemp("studies")
    write_reviews(folder / "reviews.csv")
    one_seed = study.replace("--seeds 1 2", "--seeds 1")
    dimscope(f"{one_seed} --out bert", folder)
    other = one_seed.replace("tiny/bert", "tiny/gpt2").replace("--finetune.epochs 1", "--finetune.epochs 2")
    dimscope(f"{other} --out gpt2", folder)
    return folder


def test_several_studies_have_one_page(dimscope, studies):
    ran = dimscope("report bert gpt2 --out both", studies)
    assert ran.code == 0, ran.err
    numbers = {
        name: json.loads((studies / name / "summary.json").read_text())["numbers"] for name in ("bert", "gpt2", "both")
    }
    key = json.dumps
    assert sorted(map(key, numbers["both"])) == sorted(map(key, [*numbers["bert"], *numbers["gpt2"]]))
    text = (studies / "both" / "report.md").read_text()
    assert "## tiny/bert on reviews" in text
    assert "## tiny/gpt2 on reviews" in text
    assert "The studies differ in finetune.epochs: 1 in bert, 2 in gpt2." in text
    assert (studies / "both" / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("bert gpt2", "name it with --out"),
        ("bert gpt2 --out gpt2", "a folder of its own that is no study"),
        ("bert --out elsewhere", "--out is where the page of several studies goes"),
        ("bert bert --out twice", "named twice"),
        ("bert nothing --out both", "found none at nothing"),
        ("bert other --out both", "'another'"),
        ("bert broken --out both", "study in broken is not finished"),
        ("bert strict --out both", "wanted studies that agree in outliers"),
    ],
)
def test_what_cannot_be_joined_is_told(dimscope, studies, words, message):
    asked = json.loads((studies / "bert" / "study.json").read_text())
    outliers = {**asked["settings"]["outliers"], "factor": 3.0}
    for name, changed in {
        "other": {"recipe": "another"},
        "broken": {"settings": {**asked["settings"], "seeds": [9]}},
        "strict": {"settings": {**asked["settings"], "outliers": outliers}},
    }.items():
        (studies / name).mkdir(exist_ok=True)
        (studies / name / "study.json").write_text(json.dumps({**asked, **changed}))
    ran = dimscope(f"report {words}", studies)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())
    assert not (studies / "twice").exists()


def test_studies_of_different_recipes_are_not_joined(dimscope, studies, monkeypatch):
    class Another(Recipe):
        def reproduce(self, out):
            raise NotImplementedError

        report = join = reproduce

    monkeypatch.setattr(results, "opened", lambda folder: Another() if folder.name == "gpt2" else opened(folder))
    for words in ("bert gpt2", "gpt2 bert"):
        ran = dimscope(f"report {words} --out mixed", studies)
        assert ran.code == 2
        assert "wanted studies of one recipe, got" in " ".join(ran.err.split())
