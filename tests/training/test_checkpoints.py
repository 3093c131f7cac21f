import json

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from dimscope.core.errors import UserError
from dimscope.models.catalogue import ModelSource
from dimscope.models.load import load
from dimscope.training import checkpoints
from dimscope.training.checkpoints import is_intact, require_classifier, save_checkpoint

MODEL = {"name": "tiny", "digest": "abc"}
PROBE = {"input_ids": torch.tensor([[5, 6, 7], [8, 9, 10]]), "attention_mask": torch.ones(2, 3, dtype=torch.int64)}


@pytest.fixture
def network(tiny_folder):
    return load(ModelSource("bert", "folder", str(tiny_folder("bert"))), num_labels=3, seed=5)


@pytest.fixture
def checkpoint(network, tmp_path):
    save_checkpoint(tmp_path / "kept", network, ["a", "b", "c"], {"bench": {"model": MODEL}}, PROBE)
    return tmp_path / "kept"


def test_transformers_opens_it_head_included(network, checkpoint):
    opened = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    assert opened.config.id2label == {0: "a", 1: "b", 2: "c"}
    with torch.inference_mode():
        torch.testing.assert_close(opened(**PROBE).logits, network.model(**PROBE).logits, rtol=0, atol=1e-6)


def test_every_byte_counts(checkpoint):
    assert is_intact(checkpoint)
    names = sorted(path.name for path in checkpoint.iterdir())
    assert set(json.loads((checkpoint / "dimscope.json").read_text())["sha256"]) == set(names) - {"dimscope.json"}
    for name in names:
        whole = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes(whole[:-3])
        assert not is_intact(checkpoint)
        (checkpoint / name).unlink()
        assert not is_intact(checkpoint)
        (checkpoint / name).write_bytes(whole)
    assert is_intact(checkpoint)


def test_other_logits_leave_nothing(network, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "load", lambda *_, **__: load("tiny/bert", num_labels=3, seed=6))
    with pytest.raises(RuntimeError, match="other logits"):
        save_checkpoint(tmp_path / "kept", network, ["a", "b", "c"], {}, PROBE)
    assert list(tmp_path.iterdir()) == []


def test_a_classifier_that_fits_is_let_through(checkpoint):
    require_classifier(checkpoint, MODEL, num_classes=3)
    (checkpoint / "dimscope.json").unlink()
    require_classifier(checkpoint, {"name": "unknown", "digest": "unknown"}, num_classes=3)


@pytest.mark.parametrize(
    ("model", "num_classes", "told"),
    [(MODEL, 2, "tells 3 classes apart, but the task has 2"), ({"name": "other", "digest": "d"}, 3, "made from tiny")],
)
def test_what_does_not_fit_is_refused(checkpoint, model, num_classes, told):
    with pytest.raises(UserError, match=told):
        require_classifier(checkpoint, model, num_classes)


def test_a_model_without_a_head_is_refused(tiny_folder):
    with pytest.raises(UserError, match="brings no classifier"):
        require_classifier(tiny_folder("bert"), MODEL, num_classes=2)
