from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dimscope.activations.hooks import hooked
from dimscope.core.errors import UnknownName
from dimscope.models.families import FAMILIES
from dimscope.models.load import Network

IDS = torch.tensor([[5, 6, 7, 8]])


def num_hooks(network: Network) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in network.model.modules())


def double(values: Tensor, mask: Tensor) -> Tensor:
    return 2 * values


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_every_site_is_reached_once_and_in_order(family: str, tiny_network: Callable[[str], Network]):
    network = tiny_network(family)
    reached: list[str] = []
    watches = {name: lambda values, mask, name=name: reached.append(name) for name in network.sites.names}
    with hooked(network.model, watches):
        network.model(input_ids=IDS)
        # GPT-NeoX adds attention and MLP in parallel; all else follows the order of the names.
        assert reached == network.sites.names
        reached.clear()
        network.model(input_ids=IDS)
        assert reached == network.sites.names
    assert num_hooks(network) == 0


@torch.inference_mode()
def test_alberts_one_block_is_told_apart_by_its_calls(tiny_network: Callable[[str], Network]):
    network = tiny_network("albert")
    block = network.sites["layers.1.out"].module
    seen: list[Tensor] = []
    raw = block.register_forward_hook(lambda module, args, output: seen.append(output.clone()))
    network.model(input_ids=IDS)
    raw.remove()
    for layer in range(3):
        kept: list[Tensor] = []
        with hooked(network.model, {f"layers.{layer}.out": lambda values, mask, kept=kept: kept.append(values)}):
            network.model(input_ids=IDS)
        assert len(kept) == 1
        assert torch.equal(kept[0], seen[layer])


@torch.inference_mode()
def test_an_exception_leaves_no_hook_and_no_trace(tiny_network: Callable[[str], Network]):
    network = tiny_network("gpt2")
    before = network.model(input_ids=IDS).logits

    def fail(values: Tensor, mask: Tensor) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), hooked(network.model, {"embed": double, "layers.1.in": fail}):
        network.model(input_ids=IDS)
    assert num_hooks(network) == 0
    assert torch.equal(network.model(input_ids=IDS).logits, before)


def test_an_unknown_site_leaves_no_hook(tiny_network: Callable[[str], Network]):
    network = tiny_network("gpt2")
    with (
        pytest.raises(UnknownName, match=r"layers\.9\.out"),
        hooked(network.model, {"final": double, "layers.9.out": double}),
    ):
        pass
    assert num_hooks(network) == 0


@torch.inference_mode()
def test_the_outer_blocks_function_comes_first(tiny_network: Callable[[str], Network]):
    network = tiny_network("gpt2")
    for site in ("layers.1.in", "layers.1.out", "final"):
        last: list[Tensor] = []
        with (
            hooked(network.model, {site: lambda values, mask: torch.ones_like(values)}),
            hooked(network.model, {site: lambda values, mask: values + 1}),
            hooked(network.model, {site: lambda values, mask, last=last: last.append(values)}),
        ):
            network.model(input_ids=IDS)
        assert torch.equal(last[0], torch.full_like(last[0], 2.0))


@torch.inference_mode()
def test_the_functions_see_the_mask_of_the_pass(tiny_network: Callable[[str], Network]):
    masks: list[Tensor] = []
    network, mask = tiny_network("roberta"), torch.tensor([[1, 1, 0, 0]])
    with hooked(network.model, {"layers.0.out": lambda values, mask: masks.append(mask)}):
        network.model(input_ids=IDS, attention_mask=mask)
        network.model(input_ids=IDS)
    assert torch.equal(masks[0], mask)
    assert torch.equal(masks[1], torch.ones_like(IDS))
