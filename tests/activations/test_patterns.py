"""Attention patterns are those that transformers itself returns through its eager attention."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from dimscope.activations.capture import states
from dimscope.activations.edits import Edit, Rows, edit
from dimscope.activations.patterns import attention_patterns, patterned
from dimscope.core.errors import UnknownName
from dimscope.models.classify import classify
from dimscope.models.families import FAMILIES
from dimscope.models.load import Network

TEXTS = ["the film is good", "so very sad", "a dull story seems so very bad not good"]
Tiny = Callable[[str], Network]


def padded(network: Network, side: str = "right") -> dict[str, Tensor]:
    return dict(network.tokenizer(TEXTS, padding=True, padding_side=side, return_tensors="pt"))


@torch.inference_mode()
def logits(network: Network, side: str = "right") -> Tensor:
    return classify(network, padded(network, side))


@pytest.fixture
def eager(tiny_folder) -> Callable[[Network, str, str], tuple[Tensor, ...]]:
    """Give transformers' own patterns of one sentence alone: [1, heads, queries, keys] a layer."""

    @torch.inference_mode()
    def patterns(network: Network, family: str, text: str) -> tuple[Tensor, ...]:
        model = AutoModelForSequenceClassification.from_pretrained(tiny_folder(family), attn_implementation="eager")
        batch = network.tokenizer([text], return_tensors="pt")
        inputs = {name: ids for name, ids in batch.items() if name in network.accepts}
        return model.eval().base_model(**inputs, output_attentions=True).attentions

    return patterns


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", FAMILIES)
def test_patterns_are_hugging_faces_of_each_sentence_alone(family: str, side: str, tiny_network: Tiny, eager):
    network = tiny_network(family)
    layers = range(network.num_layers)
    ours = attention_patterns(network, padded(network, side), layers)
    for row, text in enumerate(TEXTS):
        for layer, theirs in enumerate(eager(network, family, text)):
            size = theirs.shape[-1]
            torch.testing.assert_close(ours[layer][row, :, :size, :size], theirs[0], rtol=1e-5, atol=1e-5)
            assert not ours[layer][row, :, size:].any()
            assert not ours[layer][row, :, :, size:].any()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", FAMILIES)
def test_reading_patterns_changes_no_number(family: str, side: str, tiny_network: Tiny):
    network = tiny_network(family)
    before, config = logits(network, side), network.model.config.to_dict()
    seen: list[int] = []
    with patterned(network, {layer: lambda rows, mask: seen.append(0) for layer in range(network.num_layers)}):
        torch.testing.assert_close(logits(network, side), before, rtol=1e-5, atol=1e-5)
    assert len(seen) == network.num_layers
    assert torch.equal(logits(network, side), before)
    assert network.model.config.to_dict() == config


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_that_are_already_there_change_nothing_and_others_are_found_again(
    family: str, side: str, tiny_network: Tiny
):
    network = tiny_network(family)
    batch = padded(network, side)
    before = attention_patterns(network, batch, [1])[1]
    with edit(network, [Edit("layers.1.attn.pattern", Rows(before.numpy()))]):
        same = logits(network, side)
    torch.testing.assert_close(same, logits(network, side), rtol=1e-5, atol=1e-5)
    rows = np.random.default_rng(0).dirichlet(np.ones(3), size=(3, 4, 2)).astype(np.float32)
    at = np.array([[1, 2], [0, 2], [3, 6]])
    with edit(network, [Edit("layers.1.attn.pattern", Rows(rows), heads=[2], tokens=at)]):
        after = attention_patterns(network, batch, [1])[1]
    expected = before.clone()
    for row in range(3):
        for nth, token in enumerate(at[row]):
            expected[row, 2, token] = 0
            expected[row, 2, token, :3] = torch.from_numpy(rows[row, 2, nth])
    torch.testing.assert_close(after, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "llama", "pythia-70m", "deberta"])
def test_a_head_that_looks_at_one_token_gives_that_tokens_value(family: str, tiny_network: Tiny, raw):
    """The oracle: what the head gives is the value at that token, read by plain hooks."""
    network = tiny_network(family)
    looks_at_second = np.zeros((3, 1, 1, 2), np.float32)
    looks_at_second[..., 1] = 1
    values, heads = [], []
    site = "layers.0.attn"
    with (
        raw(network.model, family, f"{site}.v", values.append),
        raw(network.model, family, f"{site}.heads", heads.append),
        edit(network, [Edit(f"{site}.pattern", Rows(looks_at_second), heads=[3])]),
    ):
        logits(network)
    group = 4 // network.num_kv_heads
    own = values[0].unflatten(-1, (network.num_kv_heads, -1))[:, 1, 3 // group]
    given = heads[0].unflatten(-1, (4, -1))[:, :, 3]
    real = padded(network)["attention_mask"].bool()
    torch.testing.assert_close(given[real], own.unsqueeze(1).expand_as(given)[real], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", ["llama", "deberta"])
def test_rows_of_the_inner_block_come_after_those_of_the_outer(family: str, tiny_network: Tiny):
    network = tiny_network(family)
    first, second = (np.eye(2, dtype=np.float32)[None, None, None, token].repeat(3, axis=0) for token in (0, 1))
    outer = [Edit("layers.1.attn.pattern", Rows(first)), Edit("layers.0.attn.pattern", Rows(second), heads=[0])]
    inner = [Edit("layers.1.attn.pattern", Rows(second), heads=[1, 3])]
    with edit(network, outer), edit(network, inner):
        nested = logits(network)
        pattern = attention_patterns(network, padded(network), [1])[1]
    assert (pattern[:, [0, 2], :3, 0] == 1).all()
    assert (pattern[:, [1, 3], :3, 1] == 1).all()
    with edit(network, [*outer, *inner]):
        assert torch.equal(logits(network), nested)


@pytest.mark.parametrize("family", ["llama", "albert"])
def test_a_pass_that_ends_within_the_layer_leaves_nothing_to_the_next_one(family: str, tiny_network: Tiny):
    network = tiny_network(family)
    rows = np.eye(2, dtype=np.float32)[None, None, None, 0].repeat(3, axis=0)
    site = "layers.1.attn.heads"  # as the deepest site that is taken, it ends the pass
    with edit(network, [Edit("layers.1.attn.pattern", Rows(rows))]):
        expected = logits(network)
        first, second = (states(network, [(np.arange(3), padded(network))], [site])[site] for _ in range(2))
        assert torch.equal(logits(network), expected)
    np.testing.assert_array_equal(first, second)


def test_a_layer_that_is_not_there_is_told(tiny_network: Tiny):
    with pytest.raises(UnknownName, match="unknown layer '2'"):
        attention_patterns(tiny_network("gpt2"), padded(tiny_network("gpt2")), [2])
