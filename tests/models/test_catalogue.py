from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dimscope.core.errors import UnknownName, UserError
from dimscope.models.catalogue import find, models


def test_listing_models_imports_nothing_heavy():
    program = """
import sys
from dimscope.models.catalogue import models
models()
print(sorted({"torch", "transformers", "numpy", "pandas"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "kind", "location"),
    [
        ("bert", "hub", "google-bert/bert-base-cased"),
        ("distbert", "hub", "distilbert/distilbert-base-cased"),
        ("distilbert", "hub", "distilbert/distilbert-base-cased"),
        ("albert", "hub", "albert/albert-base-v2"),
        ("roberta", "hub", "FacebookAI/roberta-base"),
        ("gpt2", "hub", "openai-community/gpt2"),
        ("pythia-70m", "hub", "EleutherAI/pythia-70m-deduped"),
        ("pythia-160m", "hub", "EleutherAI/pythia-160m-deduped"),
        ("pythia-410m", "hub", "EleutherAI/pythia-410m-deduped"),
        ("minilm", "package", "minilm"),
        ("smollm2", "package", "smollm2"),
        ("tiny/gpt2", "tiny", "gpt2"),
        ("somebody/some.model-1", "hub", "somebody/some.model-1"),
    ],
)
def test_a_name_has_its_source(name: str, kind: str, location: str):
    source = find(name)
    assert (source.name, source.kind, source.location) == (name, kind, location)


def test_every_model_of_the_paper_has_a_line():
    listed = models()
    assert all(listed[name] for name in ("minilm", "smollm2", "bert", "pythia-410m", "tiny/albert"))


def test_a_folder_goes_before_a_hub_id_of_the_same_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert find("my/model").kind == "hub"
    (tmp_path / "my" / "model").mkdir(parents=True)
    (tmp_path / "my" / "model" / "config.json").write_text("{}")
    assert find("my/model").kind == "folder"


def test_a_folder_that_is_no_model_says_what_is_missing(tmp_path: Path):
    with pytest.raises(UserError, match=r"no config\.json"):
        find(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "nearest"), [("smolm", "smollm2"), ("tiny/albrt", "tiny/albert"), ("distbrt", "distbert")]
)
def test_an_unknown_name_offers_the_nearest(name: str, nearest: str):
    with pytest.raises(UnknownName, match=f"Did you mean '{nearest}'"):
        find(name)
