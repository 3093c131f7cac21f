"""What is read and changed at every site of every family is what plain hooks read and change, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dimscope.activations.hooks import hooked
from dimscope.models.classify import classify
from dimscope.models.families import FAMILIES
from dimscope.models.load import Network

TEXTS = ["the film is good", "so very sad", "a dull story seems so very bad not good"]
PARTS = ("in", "attn.in", "attn.q", "attn.k", "attn.v", "attn.heads", "attn.out", "mlp.in", "mlp.hidden", "mlp.out")
SITES = ("embed", *(f"layers.1.{part}" for part in (*PARTS, "out")), "final")

Tiny = Callable[[str], Network]


@torch.inference_mode()
def logits(network: Network) -> Tensor:
    return classify(network, dict(network.tokenizer(TEXTS, padding=True, return_tensors="pt")))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_every_site(family: str, tiny_network: Tiny):
    network = tiny_network(family)
    assert set(SITES) < set(network.sites.names)
    assert len(network.sites.names) == 3 + 11 * network.num_layers


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("family", FAMILIES)
def test_values_are_those_that_plain_hooks_see(family: str, site: str, tiny_network: Tiny, raw):
    network, ours, theirs = tiny_network(family), [], []
    with raw(network.model, family, site, theirs.append), hooked(network.model, {site: lambda v, m: ours.append(v)}):
        logits(network)
    assert len(ours) == 1
    assert all(torch.equal(ours[0].flatten(), each.flatten()) for each in theirs)
    assert ours[0].shape[:2] == (3, ours[0].numel() // 3 // ours[0].shape[2])


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_change_is_that_of_plain_hooks(family: str, site: str, tiny_network: Tiny, raw):
    network = tiny_network(family)
    before = logits(network)
    with raw(network.model, family, site, lambda values: values * 0.5 + 0.25):
        expected = logits(network)
    with hooked(network.model, {site: lambda values, mask: values * 0.5 + 0.25}):
        assert torch.equal(logits(network), expected)
    assert not torch.equal(before, expected)
    assert torch.equal(logits(network), before)
