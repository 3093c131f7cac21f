"""The check of the heads passes for every family (tests/families), and fails where parts are taken for others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from dimscope.activations import check_heads
from dimscope.activations.check_heads import heads_are_apart
from dimscope.models import sites as module
from dimscope.models.families import FAMILIES
from dimscope.models.load import Network
from dimscope.models.projections import Part, projections

Tiny = Callable[[str], Network]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_passes(family: str, tiny_network: Tiny):
    network = tiny_network(family)
    check = heads_are_apart(network)
    dims, pairs = network.head_dim, network.num_kv_heads
    assert check.holds
    assert check.detail == f"4 heads of {dims} dims in each layer, {pairs} of keys and values"


def taken_for(monkeypatch: pytest.MonkeyPatch, **others: str) -> None:
    """Give one projection under the name of another."""

    def exchanged(*args):
        found = projections(*args)
        return {name: found[others.get(name, name)] for name in found}

    monkeypatch.setattr(module, "projections", exchanged)


@pytest.mark.parametrize("family", ["bert", "gpt2", "pythia-70m", "modernbert"])
@pytest.mark.parametrize(("one", "other"), [("q", "k"), ("k", "v"), ("q", "v")])
def test_projections_taken_for_each_other_are_found(family: str, one: str, other: str, tiny_network: Tiny, monkeypatch):
    taken_for(monkeypatch, **{one: other, other: one})
    assert not heads_are_apart(tiny_network(family)).holds


@pytest.mark.parametrize("family", ["gpt2", "pythia-70m", "modernbert"])
def test_a_fused_map_cut_in_the_other_way_is_found(family: str, tiny_network: Tiny, monkeypatch):
    network = tiny_network(family)

    def cut_otherwise(*args):
        groups = 1 if family == "pythia-70m" else 4
        width = 32 // groups
        return {
            name: replace(each, part=Part(groups, index * width, (index + 1) * width))
            for index, (name, each) in enumerate(projections(*args).items())
        }

    assert heads_are_apart(network).holds
    monkeypatch.setattr(module, "projections", cut_otherwise)
    assert not heads_are_apart(network).holds


def test_a_matrix_that_stands_on_its_side_is_found(tiny_network: Tiny, monkeypatch):
    monkeypatch.setattr(check_heads, "weight", lambda linear: linear.weight)  # GPT-2 keeps it transposed
    check = heads_are_apart(tiny_network("gpt2"))
    assert not check.holds
    assert "does not sum up to what its attention writes" in check.detail


def test_where_projections_are_not_known_their_sites_are_missing(tiny_network: Tiny, monkeypatch):
    monkeypatch.setattr(module, "projections", lambda *_: {})
    check = heads_are_apart(tiny_network("llama"))
    assert check.holds
    assert "there are no sites attn.in, q, k, v" in check.detail
