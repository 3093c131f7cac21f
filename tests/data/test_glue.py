from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from dimscope.core.errors import UserError
from dimscope.data import glue
from dimscope.data.glue import hub_folder, named_like_a_task, read_glue
from dimscope.store.hub import Unreached

# The columns of the original download and of the hub, with two rows each of which every cell is known.
ORIGINAL: dict[str, dict[str, list[object]]] = {
    "sst2": {"sentence": ['a "stray quote', "b"], "label": ["1", "0"]},
    "qnli": {
        "index": ["0", "1"],
        "question": ["q1", 'q"2'],
        "sentence": ["s1", "s2"],
        "label": ["not_entailment", "entailment"],
    },
    "qqp": {
        "id": ["5", "6"],
        "qid1": ["1", "2"],
        "qid2": ["3", "4"],
        "question1": ["a", "b"],
        "question2": ["c", '"d"'],
        "is_duplicate": ["1", "0"],
    },
    "mrpc": {
        "Quality": ["1", "0"],
        "#1 ID": ["7", "8"],
        "#2 ID": ["9", "10"],
        "#1 String": ["a", "b"],
        "#2 String": ["c", "d"],
    },
    "rte": {
        "index": ["0", "1"],
        "sentence1": ["a", "b"],
        "sentence2": ["c", "d"],
        "label": ["not_entailment", "entailment"],
    },
}
HUB: dict[str, dict[str, list[object]]] = {
    "sst2": {"sentence": ['a "stray quote', "b"], "label": [1, 0], "idx": [0, 1]},
    "qnli": {"question": ["q1", 'q"2'], "sentence": ["s1", "s2"], "label": [1, 0], "idx": [0, 1]},
    "qqp": {"question1": ["a", "b"], "question2": ["c", '"d"'], "label": [1, 0], "idx": [0, 1]},
    "mrpc": {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [1, 0], "idx": [0, 1]},
    "rte": {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [1, 0], "idx": [0, 1]},
}
INPUTS = {
    "sst2": [('a "stray quote',), ("b",)],
    "qnli": [("q1", "s1"), ('q"2', "s2")],
    "qqp": [("a", "c"), ("b", '"d"')],
    "mrpc": [("a", "c"), ("b", "d")],
    "rte": [("a", "c"), ("b", "d")],
}
NAMES = {
    "sst2": ("negative", "positive"),
    "qnli": ("entailment", "not_entailment"),
    "qqp": ("not_duplicate", "duplicate"),
    "mrpc": ("not_equivalent", "equivalent"),
    "rte": ("entailment", "not_entailment"),
}

Columns = dict[str, list[object]]


def write_tsv(path: Path, columns: Columns) -> None:
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")


def write_jsonl(path: Path, columns: Columns) -> None:
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join(json.dumps(dict(zip(columns, row, strict=True))) for row in rows))


def write_parquet(path: Path, columns: Columns) -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


WRITERS: dict[str, Callable[[Path, Columns], None]] = {
    ".tsv": write_tsv,
    ".jsonl": write_jsonl,
    ".parquet": write_parquet,
}


@pytest.mark.parametrize("held_out", ["dev", "validation"])
@pytest.mark.parametrize("layout", [ORIGINAL, HUB], ids=["original", "hub"])
@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("task", glue.LAYOUTS)
def test_every_layout_says_the_same(tmp_path: Path, task: str, suffix: str, layout: dict[str, Columns], held_out: str):
    columns = layout[task]
    WRITERS[suffix](tmp_path / f"train{suffix}", columns)
    WRITERS[suffix](tmp_path / f"{held_out}{suffix}", {name: each[1:] for name, each in columns.items()})
    WRITERS[suffix](tmp_path / f"test{suffix}", {"sentence": ["unread"]})
    found = read_glue(task, tmp_path)
    assert found.label_names == NAMES[task]
    assert list(found.train.inputs()) == INPUTS[task]
    assert found.train.labels.tolist() == [1, 0]
    assert found.validation is not None
    assert list(found.validation.inputs()) == INPUTS[task][1:]
    assert found.validation.labels.tolist() == [0]


def test_the_hubs_own_names_of_files_are_found(tmp_path: Path):
    for split in ("train", "validation", "test"):
        write_parquet(tmp_path / f"{split}-00000-of-00001.parquet", HUB["sst2"])
    assert read_glue("sst2", tmp_path).train.labels.tolist() == [1, 0]


def test_damaged_rows_of_the_download_are_left_out_and_noted(tmp_path: Path):
    (tmp_path / "train.tsv").write_text("sentence\tlabel\na\t1\nbroken\nb\t0\n")
    write_tsv(tmp_path / "dev.tsv", ORIGINAL["sst2"])
    found = read_glue("sst2", tmp_path)
    assert found.train.texts == ("a", "b")
    assert found.notes == ("train.tsv: 1 rows with missing or surplus cells are left out",)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, r"wanted one file train \(.*\) in .*, found none"),
        ({"train.tsv": ORIGINAL["sst2"]}, "wanted one file validation or dev"),
        ({"train.tsv": ORIGINAL["sst2"], "train.jsonl": HUB["sst2"]}, r"found train\.tsv, train\.jsonl"),
        (
            {"train.tsv": ORIGINAL["sst2"], "dev.tsv": ORIGINAL["rte"]},
            r"wanted the columns sentence, label for sst2 in .*, found index, sentence1, sentence2, label",
        ),
        (
            {"train.jsonl": HUB["sst2"], "dev.jsonl": {"sentence": ["hidden"], "label": [-1]}},
            "wanted labels among 0, negative, 1, positive for sst2 in .*, got '-1'",
        ),
    ],
)
def test_mistakes_are_told(tmp_path: Path, files: dict[str, Columns], told: str):
    for name, columns in files.items():
        WRITERS[Path(name).suffix](tmp_path / name, columns)
    with pytest.raises(UserError, match=told):
        read_glue("sst2", tmp_path)


@pytest.mark.parametrize(
    ("folder", "task"), [("SST-2", "sst2"), ("QNLI", "qnli"), ("qqp", "qqp"), ("MRPC", "mrpc"), ("data/RTE/", "rte")]
)
def test_folders_are_known_by_name(folder: str, task: str):
    assert named_like_a_task(Path(folder)) == task


def test_another_folder_is_told_how_to_be_named():
    with pytest.raises(UserError, match=r"Give glue/NAME@mine with NAME one of sst2, qnli"):
        named_like_a_task(Path("mine"))


def test_only_what_is_needed_is_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[object, ...]] = []
    (tmp_path / "rte").mkdir()
    monkeypatch.setattr(glue, "snapshot", lambda *words: asked.append(words) or tmp_path)
    assert hub_folder("rte") == tmp_path / "rte"
    assert asked == [("nyu-mll/glue", "dataset", ("rte/train*.parquet", "rte/validation*.parquet"))]


def test_without_a_network_the_local_way_is_offered(monkeypatch: pytest.MonkeyPatch):
    def unreachable(*asked: object) -> Path:
        raise Unreached

    monkeypatch.setattr(glue, "snapshot", unreachable)
    with pytest.raises(UserError, match=r"hub is not reached.* glue/rte@FOLDER"):
        hub_folder("rte")


def test_a_copy_of_other_tasks_is_no_copy_of_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(glue, "snapshot", lambda *asked: tmp_path)
    with pytest.raises(UserError, match="cannot fetch glue/qqp"):
        hub_folder("qqp")
