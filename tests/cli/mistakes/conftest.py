"""Files, models and states that commands cannot take: each lacks something, or is damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

FILES = {
    "empty.csv": "",
    "blank.csv": "\n\n\n",
    "header.csv": "text,label\n",
    "empty.jsonl": "",
    "empty.tsv": "",
    "no_label.csv": "text,stars\na,1\nb,2\n",
    "no_text.csv": "words,label\na,1\nb,2\n",
    "two_texts.csv": "text,review,label\na,b,1\nc,d,2\n",
    "two_labels.csv": "text,label,class\na,0,1\nb,1,0\n",
    "missing_label.csv": "text,label\na,0\nb,\nc,1\n",
    "null_label.jsonl": '{"text": "a", "label": 0}\n{"text": "b", "label": null}\n',
    "nan_label.jsonl": '{"text": "a", "label": 0}\n{"text": "b", "label": NaN}\n',
    "no_key.jsonl": '{"text": "a", "label": 0}\n{"label": 1}\n',
    "one_class.csv": "text,label\na,1\nb,1\nc,1\n",
    "single.csv": "text,label\na,0\nb,0\nc,1\n",
    "real.csv": "text,label\na,0.25\nb,1.5\n",
    "twice.csv": "text,text,label\na,b,0\nc,d,1\n",
    "ragged.csv": "text,label\na,0\nb,1,2\n",
    "quote.csv": 'text,label\n"a,0\nb,1\n',
    "broken.jsonl": '{"text": "a", "label": 0}\n{"text": \n',
    "list.jsonl": "[1, 2]\n",
    "object_text.jsonl": '{"text": {"a": 1}, "label": 0}\n{"text": "b", "label": 1}\n',
    "broken.parquet": "PAR1 and then nothing",
    "notes.txt": "text,label\na,0\nb,1\n",
    "new_class.csv": "text,label\nunseen,excellent\n",
    "same.csv": "text,label\nthe film,bad\ngood,good\n",
    "no_texts.csv": "label\nbad\ngood\n",
    "only_same.csv": "text,label\n" + "same text,0\nsame text,1\n" * 5,
    "in_the_way": "a file",
    "glue/sst2/train.tsv": "sentence\tlabel\na film\t0\na story\t1\n",
    "bad_glue/sst2/train.tsv": "sentence\tlabel\na\t0\nb\t1\n",
    "bad_glue/sst2/dev.tsv": "sentence\tlabel\nc\t0\nd\t7\n",
    "no_glue/rte/train.tsv": "sentence\tlabel\na\t0\nb\t1\n",
    "no_glue/rte/dev.tsv": "sentence\tlabel\nc\t0\nd\t1\n",
    "plain_folder/readme.txt": "nothing of interest",
    "other_study/study.json": '{"schema": 1, "recipe": "something_else", "settings": {}}',
    "broken_study/study.json": '{"schema": 1, "rec',
    "old_study/study.json": '{"schema": 1, "recipe": "outlier_dimensions", "settings": {"modles": ["x"]}}',
    "asked_study/study.json": '{"schema": 1, "recipe": "outlier_dimensions", "settings": {}}',
    "bad_states/manifest.json": '{"schema"',
    "model_without_weights/config.json": '{"model_type": "bert"}',
    "model_no_json/config.json": "{",
}
"""What lies in the folder besides reviews.csv, by name."""


@pytest.fixture(scope="module")
def place(dimscope, write_reviews, tmp_path_factory) -> Path:
    """Give a folder with all that the commands name."""
    folder = tmp_path_factory.mktemp("bad")
    write_reviews(folder / "reviews.csv")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "garbage.csv").write_bytes(bytes(range(256)) * 20)
    (folder / "garbage.parquet").write_bytes(bytes(range(256)) * 20)
    (folder / "folder.csv").mkdir()
    _write_models(folder, dimscope)
    _write_classifiers(folder, dimscope)
    _write_states(folder, dimscope)
    return folder


def _write_models(folder: Path, dimscope) -> None:
    """Write models that lack something."""
    printed = dimscope("get tiny/bert", folder).err
    sound = Path(printed.partition(": ")[2].strip())
    names = ("pretrained", "pickle_only", "truncated", "no_tokenizer", "other_config", "unknown_type")
    for name in names:
        shutil.copytree(sound, folder / name)
    weights = folder / "pickle_only" / "model.safetensors"
    torch.save(load_file(weights), folder / "pickle_only" / "pytorch_model.bin")
    weights.unlink()
    _cut(folder / "truncated" / "model.safetensors")
    for path in (folder / "no_tokenizer").glob("*token*"):
        path.unlink()
    _set_config(folder / "other_config", num_hidden_layers=5)
    _set_config(folder / "unknown_type", model_type="no_such_family")


def _write_classifiers(folder: Path, dimscope) -> None:
    """Write classifiers that do not fit, or are damaged."""
    (folder / "three.csv").write_text("text,label\n" + "".join(f"film {n},{n % 3}\n" for n in range(30)))
    for task, name in {"three": "three_classes", "reviews": "classifier"}.items():
        words = f"run finetune/full --model tiny/bert --task {task}.csv --epochs 1 --out tuned"
        checkpoint = dimscope(words, folder).out.split("Checkpoint: ")[1].strip()
        shutil.copytree(folder / "tuned" / "checkpoints" / checkpoint, folder / name)
    for name in ("cut_classifier", "foreign_classifier"):
        shutil.copytree(folder / "classifier", folder / name)
        _cut(folder / name / "model.safetensors")
    (folder / "foreign_classifier" / "dimscope.json").unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _set_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _write_states(folder: Path, dimscope) -> None:
    dimscope("run measure/outlier_dimensions --model tiny/bert --task reviews.csv --out done", folder)
    for name, flags in {"states": "", "short": "--limit 4"}.items():
        taken = dimscope(f"states take --model tiny/bert --task reviews.csv --out taken {flags}", folder)
        shutil.copytree(folder / taken.out.strip(), folder / name)
    shutil.copytree(folder / "states", folder / "damaged")
    (shard,) = (folder / "damaged").glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-1])
