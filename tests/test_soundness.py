"""A sound model passes (tests/families); here each check meets a model that breaks just its promise."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from dimscope import soundness as module
from dimscope.models.load import Network, load
from dimscope.soundness import (
    checkpoint_reopens,
    edits_undone,
    planted,
    rounding_is_small,
    soundness,
    training_lowers_the_loss,
)


@pytest.fixture
def network(tiny_folder) -> Network:
    return load(str(tiny_folder("gpt2")))


def test_each_class_is_told_by_one_token_at_both_ends(network):
    data = planted(network, num_sentences=6)
    tokens = [{int(ids[0]), int(ids[-1])} for ids in data.encoded.ids]
    assert data.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert tokens == [tokens[0], tokens[1]] * 3
    assert len(tokens[0]) == len(tokens[1]) == 1
    assert tokens[0] != tokens[1]


def test_an_edit_that_changes_nothing_is_found(network):
    torch.nn.init.zeros_(network.head.weight)
    assert edits_undone(network).detail == "zeros after every block change no logit"


def test_an_edit_that_leaves_a_trace_is_found(network):
    calls = iter(range(100))
    network.head.register_forward_hook(lambda module, args, logits: logits + next(calls))
    assert edits_undone(network).detail == "the logits after an edit was undone are not those before it"


def test_rounding_is_found(network):
    norm = network.sites["final"].module
    norm.register_forward_hook(lambda module, args, states: states * (1.001 if states.dtype == torch.float32 else 1))
    check = rounding_is_small(network)
    assert not check.holds
    assert "differ by 0.001 of the largest value" in check.detail


def test_training_that_teaches_nothing_is_found(network, monkeypatch):
    monkeypatch.setattr(module, "TRAINING", module.TRAINING.model_copy(update={"learning_rate": 1e-30}))
    assert not training_lowers_the_loss(network, seed=1).holds


def test_a_model_that_is_more_than_its_files_is_found(network):
    network.head.register_forward_hook(lambda module, args, logits: logits + 1)
    check = checkpoint_reopens(network)
    assert not check.holds
    assert "gives other logits" in check.detail


def test_without_sites_nothing_else_is_tried(tiny_network, tmp_path):
    sizes = {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64, "vocab_size": 360}
    AutoModelForSequenceClassification.from_config(AutoConfig.for_model("xlnet", **sizes)).save_pretrained(tmp_path)
    tiny_network("gpt2").tokenizer.save_pretrained(tmp_path)
    (check,) = soundness(load(str(tmp_path)), seed=1)
    assert (check.name, check.holds) == ("sites found", False)
    assert "cannot tell attention from MLP in XLNetLayer" in check.detail
