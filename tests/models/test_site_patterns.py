import pytest

from dimscope.core.errors import UnknownName
from dimscope.models.site_patterns import sites_matching


def test_every_layers_output_is_not_its_parts_output(tiny_network):
    names = tiny_network("bert").sites.names
    layers = range(tiny_network("bert").num_layers)
    assert sites_matching(["layers.*.out"], names) == [f"layers.{layer}.out" for layer in layers]
    assert sites_matching(["layers.*.attn.out"], names) == [f"layers.{layer}.attn.out" for layer in layers]


def test_a_site_of_two_patterns_stands_once_and_in_the_networks_order():
    names = ["embed", "layers.0.out", "final"]
    assert sites_matching(["final", "embed", "fin*"], names) == ["embed", "final"]


def test_a_pattern_without_a_site_is_told():
    with pytest.raises(UnknownName, match="Did you mean 'final'"):
        sites_matching(["embed", "finale"], ["embed", "final"])
