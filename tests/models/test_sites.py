from __future__ import annotations

from collections.abc import Callable

import pytest

from dimscope.core.errors import UnknownName
from dimscope.models import sites as module
from dimscope.models.families import FAMILIES
from dimscope.models.load import Network

# As the families name their modules: block, attention map, second map of the MLP, final norm.
NAMES = {
    "bert": ("bert.encoder.layer.1", "attention.output.dense", "output.dense", None),
    "distilbert": ("distilbert.transformer.layer.1", "attention.out_lin", "ffn.lin2", None),
    "roberta": ("roberta.encoder.layer.1", "attention.output.dense", "output.dense", None),
    "gpt2": ("transformer.h.1", "attn.c_proj", "mlp.c_proj", "transformer.ln_f"),
    "pythia-70m": ("gpt_neox.layers.1", "attention.dense", "mlp.dense_4h_to_h", "gpt_neox.final_layer_norm"),
    "llama": ("model.layers.1", "self_attn.o_proj", "mlp.down_proj", "model.norm"),
    "electra": ("electra.encoder.layer.1", "attention.output.dense", "output.dense", None),
    "deberta": ("deberta.encoder.layer.1", "attention.output.dense", "output.dense", None),
    "modernbert": ("model.layers.1", "attn.Wo", "mlp.Wo", "model.final_norm"),
    "mpnet": ("mpnet.encoder.layer.1", "attention.attn.o", "output.dense", None),
    "gpt_neo": ("transformer.h.1", "attn.attention.out_proj", "mlp.c_proj", "transformer.ln_f"),
    "opt": ("model.decoder.layers.1", "self_attn.out_proj", "fc2", "model.decoder.final_layer_norm"),
    "qwen3": ("model.layers.1", "self_attn.o_proj", "mlp.down_proj", "model.norm"),
    "gemma": ("model.layers.1", "self_attn.o_proj", "mlp.down_proj", "model.norm"),
}


@pytest.mark.parametrize("family", NAMES)
def test_sites_stand_at_the_familys_modules(family: str, tiny_network: Callable[[str], Network]):
    network = tiny_network(family)
    block, attention_map, mlp_map, norm = NAMES[family]
    module = network.model.get_submodule
    sites = network.sites
    assert sites["layers.1.in"].module is sites["layers.1.out"].module is module(block)
    assert sites["layers.1.attn.out"].module is module(f"{block}.{attention_map}")
    assert sites["layers.1.mlp.out"].module is module(f"{block}.{mlp_map}")
    assert sites["final"].module is (module(norm) if norm else module(block))
    assert sites.post_norm == (norm is not None)


def test_alberts_layers_are_calls_of_one_module(tiny_network: Callable[[str], Network]):
    sites = tiny_network("albert").sites
    blocks = [sites[f"layers.{layer}.out"] for layer in range(3)]
    assert len({block.module for block in blocks}) == 1
    assert [block.call for block in blocks] == [0, 1, 2]
    assert sites["final"].call == 2
    assert sites["layers.1.attn.out"].call == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_makes_as_many_logits_as_there_are_classes(family: str, tiny_network: Callable[[str], Network]):
    network = tiny_network(family)
    assert network.sites["logits"].module is network.head
    assert network.head.out_features == 3


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("layers.7.out", "0 to 1"),
        ("layers.-1.out", "0 to 1"),
        ("finl", "Did you mean 'final'"),
        ("layers.0.mlp", "mlp.out"),
        ("layers.0.attn.heds", r"Did you mean 'layers\.L\.attn\.heads'"),
    ],
)
def test_an_unknown_site_is_answered_with_those_there_are(name: str, part: str, tiny_network: Callable[[str], Network]):
    with pytest.raises(UnknownName, match=part):
        tiny_network("gpt2").sites[name]


def test_a_site_that_the_family_has_not_is_not_offered(tiny_network: Callable[[str], Network], monkeypatch):
    assert "layers.1.attn.q" in tiny_network("gpt2").sites
    monkeypatch.setattr(module, "projections", lambda *_: {})
    sites = tiny_network("gpt2").sites
    with pytest.raises(UnknownName) as told:
        _ = sites["layers.1.attn.q"]
    known = str(told.value).partition("Known: ")[2].partition(". Layers")[0]
    parts = ("in", "attn.heads", "attn.out", "mlp.in", "mlp.hidden", "mlp.out", "out")
    assert known.split(", ") == ["embed", *(f"layers.L.{part}" for part in parts), "final", "logits"]
