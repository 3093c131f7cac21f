"""The pass that is written out against the modules of every family that has one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dimscope.activations.capture import states
from dimscope.activations.edits import Edit, Zero, edit
from dimscope.activations.hooks import hooked
from dimscope.models import direct as direct_pass
from dimscope.models import packed as packed_maps
from dimscope.models.classify import classify
from dimscope.models.direct import DirectPass, classifying, has_direct_pass
from dimscope.models.load import Network, load
from dimscope.models.packed import PackedMaps
from dimscope.training.words import WholeTable

FAMILIES = ["bert", "roberta", "electra"]
TEXTS = ["a good film", "sad", "the long and very slow story of a man and his dog", "why"]


def batch_of(network: Network, side: str = "right") -> dict[str, torch.Tensor]:
    network.tokenizer.padding_side = side
    return dict(network.tokenizer(TEXTS, padding=True, return_tensors="pt"))


def assert_rows_are(batch, found, expected) -> None:
    """Rows are the tokens that are no padding; those that fill up stand at the end."""
    mask = batch["attention_mask"].bool()
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours[: mask.sum()], theirs[mask], rtol=0, atol=1e-5)


@pytest.fixture(params=FAMILIES)
def network(request) -> Network:
    return load(f"tiny/{request.param}", num_labels=3, seed=4)


@pytest.mark.parametrize(("packed", "few_rows"), [(False, 0), (True, 0), (True, 20), (True, 1024)])
@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_are_those_of_the_modules(network, side, packed, few_rows, monkeypatch):
    monkeypatch.setattr(packed_maps, "FEW_ROWS", few_rows)
    batch = batch_of(network, side)
    with torch.inference_mode():
        torch.testing.assert_close(
            DirectPass(network, torch.float32, packed=packed).logits(batch), classify(network, batch)
        )


def test_every_hidden_state_is_that_of_the_modules(network):
    batch = batch_of(network)
    direct = DirectPass(network, torch.float32)
    with torch.inference_mode():
        expected = network.model.base_model(**batch, output_hidden_states=True).hidden_states
        found = list(direct.hidden(batch, direct.sentences(batch["attention_mask"]), network.num_layers))
    assert len(found) == len(expected)
    assert_rows_are(batch, found, expected)


def test_one_token_of_the_last_block_is_that_of_the_whole_block(network):
    batch = batch_of(network)
    direct = DirectPass(network, torch.float32)
    with torch.inference_mode():
        sentences = direct.sentences(batch["attention_mask"])
        only = sentences.row_of(torch.tensor([1, 0, 3, 2]))
        *_, whole = direct.hidden(batch, sentences, 2)
        *_, alone = direct.hidden(batch, sentences, 2, only)
    torch.testing.assert_close(alone, whole[only])


def test_gradients_are_those_of_the_modules(network):
    """Dropout is none in evaluation mode; it is tested on its own."""
    batch, labels = batch_of(network), torch.tensor([0, 1, 2, 0])
    model = network.model

    def gradients(logits: torch.Tensor) -> dict[str, torch.Tensor]:
        model.zero_grad()
        nn.functional.cross_entropy(logits, labels).backward()
        found = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
        return {name: each.to_dense() if each.is_sparse else each.clone() for name, each in found.items()}

    expected = gradients(classify(network, batch))
    for is_sparse in (False, True):
        words = WholeTable(network.model.get_input_embeddings(), is_sparse)
        found = gradients(DirectPass(network, torch.float32, words=words).logits(batch))
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, msg=name, atol=1e-6, rtol=1e-4)


def test_bfloat16_is_near_float32(network):
    batch = batch_of(network)
    with torch.inference_mode():
        exact, rounded = (DirectPass(network, dtype).logits(batch) for dtype in (torch.float32, torch.bfloat16))
    assert rounded.dtype == torch.float32
    error = (rounded - exact).norm() / exact.norm()
    assert 0 < error < 0.03


def test_in_training_mode_it_drops_as_the_modules_do(network):
    """The mean over many draws of the modules' dropout and of ours is the same, and so is the spread."""
    batch = batch_of(network)
    network.model.train()
    direct = DirectPass(network, torch.float32)
    torch.manual_seed(0)
    with torch.inference_mode():
        ours = torch.stack([direct.logits(batch) for _ in range(400)])
        theirs = torch.stack([classify(network, batch) for _ in range(400)])
    assert ours.std(0).min() > 0
    deviation = (ours.mean(0) - theirs.mean(0)) / (ours.var(0) / 400 + theirs.var(0) / 400).sqrt()
    assert deviation.abs().max() < 4.5
    assert (ours.std(0) / theirs.std(0)).log().abs().max() < 0.3


def test_states_by_it_are_those_by_hooks(network):
    batch = batch_of(network)
    sites = ["embed", "layers.0.in", "layers.0.out", "layers.1.out", "final"]
    numbers = np.arange(len(TEXTS))
    for pooling in ("first", "last", "mean"):
        direct = states(network, [(numbers, batch)], sites, pooling)
        # A site within a block has no direct way, and takes the others along.
        hooks = states(network, [(numbers, batch)], [*sites, "layers.0.attn.out"], pooling)
        for site in sites:
            np.testing.assert_allclose(direct[site], hooks[site], atol=1e-5)


def test_hooks_that_transformers_leaves_behind_are_no_hindrance(network):
    """It records hidden states by hooks that stay when they were asked for once."""
    batch = batch_of(network)
    with torch.inference_mode():
        expected = network.model.base_model(**batch, output_hidden_states=True, output_attentions=True).hidden_states
        assert any(part._forward_hooks for part in network.model.modules())
        assert has_direct_pass(network)
        direct = DirectPass(network, torch.float32)
        found = [*direct.hidden(batch, direct.sentences(batch["attention_mask"]), network.num_layers)]
    assert_rows_are(batch, found, expected)
    with hooked(network.model, {"embed": lambda values, mask: None}):
        assert not has_direct_pass(network)


def test_an_edited_network_takes_the_way_through_its_modules(network):
    batch = batch_of(network)
    with torch.inference_mode(), edit(network, [Edit("layers.0.out", Zero())]):
        assert not has_direct_pass(network)
        edited = classify(network, batch)
        torch.testing.assert_close(classifying(network)(batch), edited)
        numbers = np.arange(len(TEXTS))
        assert not states(network, [(numbers, batch)], ["layers.0.out"])["layers.0.out"].any()
    assert has_direct_pass(network)
    assert not torch.allclose(classify(network, batch), edited)


def test_what_it_does_not_stand_for_is_not_taken():
    assert not has_direct_pass(load("tiny/gpt2"))
    assert not has_direct_pass(load("tiny/distilbert"))
    assert not has_direct_pass(load("tiny/bert", dtype=torch.float64))
    network = load("tiny/bert")
    with hooked(network.model, {"embed": lambda values, mask: None}):
        assert not has_direct_pass(network)

    class Adapted(nn.Linear):
        pass

    wrapped = load("tiny/bert")
    wrapped.model.base_model.encoder.layer[0].intermediate.dense = Adapted(32, 64)
    assert not has_direct_pass(wrapped)


def test_a_map_that_wraps_another_and_shows_its_weight_is_not_taken():
    """As peft's do: read as a plain map, it would lose what it adds."""

    class Adapter(nn.Module):
        def __init__(self, base_layer):
            super().__init__()
            self.base_layer = base_layer
            self.weight, self.bias = base_layer.weight, base_layer.bias

        def forward(self, values):
            return 2 * self.base_layer(values)

    network = load("tiny/bert")
    batch = batch_of(network)
    output = network.model.base_model.encoder.layer[0].output
    with torch.inference_mode():
        before = classifying(network)(batch)
        output.dense = Adapter(output.dense)
        adapted = classifying(network)(batch)
        torch.testing.assert_close(adapted, classify(network, batch))
    assert not has_direct_pass(network)
    assert not torch.allclose(adapted, before)


def test_a_parametrized_map_is_not_taken():
    network = load("tiny/bert")
    nn.utils.parametrizations.weight_norm(network.model.base_model.encoder.layer[0].output.dense)
    assert not has_direct_pass(network)


@pytest.mark.parametrize("few_rows", [10, 11])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("outputs", [(48, 32), (64, 70)], ids=["too small for pairs", "in pairs where there are"])
def test_packed_maps_are_the_plain_ones(dtype, few_rows, outputs, monkeypatch):
    monkeypatch.setattr(packed_maps, "FEW_ROWS", few_rows)
    torch.manual_seed(0)
    (first, second), values = (nn.Linear(64, each) for each in outputs), torch.randn(10, 64).to(dtype)
    found = PackedMaps(dtype)(values, first, second)
    expected = torch.cat([first(values.float()), second(values.float())], 1)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=1e-5 if dtype == torch.float32 else 0.05, rtol=0.01)


@pytest.mark.parametrize(
    ("dtype", "adds_pairs", "num_rows"),
    [(torch.float32, True, 80), (torch.bfloat16, True, 44), (torch.bfloat16, False, 80)],
)
def test_rows_are_filled_up_where_products_are_compiled_for_every_number(dtype, adds_pairs, num_rows, monkeypatch):
    monkeypatch.setattr(direct_pass, "adds_pairs", lambda: adds_pairs)
    network = load("tiny/bert")
    mask = batch_of(network)["attention_mask"]
    assert mask.sum() == 44
    assert len(DirectPass(network, dtype).sentences(mask).rows(mask)) == num_rows


def test_packed_maps_without_onednn_take_the_plain_product(monkeypatch):
    monkeypatch.setattr(packed_maps, "FEW_ROWS", 0)
    first, values = nn.Linear(8, 4), torch.ones(2, 8)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    torch.testing.assert_close(PackedMaps(torch.float32)(values, first), first(values).detach())
