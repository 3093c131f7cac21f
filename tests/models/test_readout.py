from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from dimscope.core.errors import UserError
from dimscope.models.readout import Readout


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def with_own_values(norm):
    with torch.no_grad():
        for values in norm.parameters():
            values += 0.5 * drawn(*values.shape)
    return norm


NORMS = {
    "LayerNorm": with_own_values(nn.LayerNorm(32)),
    "LayerNorm without weights": nn.LayerNorm(32, elementwise_affine=False),
    "RMSNorm": with_own_values(LlamaRMSNorm(32)),
    "RMSNorm of 1 + weight": with_own_values(GemmaRMSNorm(32)),
    "none": None,
}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("size", [0.01, 1, 300])
def test_a_direction_is_that_of_the_norm_with_its_scale_held(name, size):
    readout = Readout(NORMS[name], nn.Linear(32, 50))
    states, answers, others = size * drawn(6, 32) + size, torch.arange(6), torch.arange(6) + 9
    vectors, constants = readout.directions(states, answers, others)
    rows = torch.arange(6)
    own = readout.logits(states)
    torch.testing.assert_close(
        (vectors * states).sum(1) + constants, (own[rows, answers] - own[rows, others]).double(), atol=1e-5, rtol=1e-5
    )
    # Along directions in which the scale stands still, and only there, the true gradient is the same.
    states.requires_grad_()
    logits = readout.head(states if readout.norm is None else readout.norm(states))
    (gradient,) = torch.autograd.grad((logits[rows, answers] - logits[rows, others]).sum(), states)
    still = drawn(6, 32)
    for fixed in (torch.ones(6, 32), (states - states.mean(1, keepdim=True)).detach()):
        still -= (still * fixed).sum(1, keepdim=True) / fixed.square().sum(1, keepdim=True) * fixed
    torch.testing.assert_close(
        (vectors * still).sum(1), (gradient * still).sum(1).double(), atol=1e-4 / size, rtol=1e-4
    )


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("size", [0.01, 1, 300])
def test_what_parts_add_to_all_logits_is_what_they_are_along_each_direction(name, size):
    readout = Readout(NORMS[name], nn.Linear(32, 50))
    states = size * drawn(6, 32) + size
    parts = torch.stack([size * drawn(6, 32), states - size * drawn(6, 32)], dim=1)
    added = readout.added(parts, states)
    torch.testing.assert_close(
        added.sum(1) + readout.logits(torch.zeros_like(states)), readout.logits(states), atol=1e-4, rtol=1e-4
    )
    rows, answers, others = torch.arange(6), torch.arange(6), torch.arange(6) + 9
    vectors, _ = readout.directions(states, answers, others)
    along = torch.einsum("pd,pcd->pc", vectors, parts.double()).float()
    torch.testing.assert_close(added[rows, :, answers] - added[rows, :, others], along, atol=1e-4, rtol=1e-4)


def test_an_encoder_has_none(tiny_network):
    with pytest.raises(UserError, match="encoder"):
        Readout.of(tiny_network("bert"))


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_the_last_states_are_read_as_the_model_reads_them(family, tiny_network):
    network = tiny_network(family)
    seen = []
    norm = Readout.of(network).norm
    handle = norm.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    ids = torch.arange(12).reshape(2, 6) + 30
    with torch.no_grad():
        expected = network.model.score(network.model.base_model(input_ids=ids).last_hidden_state)
    handle.remove()
    torch.testing.assert_close(Readout.of(network).logits(seen[0]).reshape(expected.shape), expected)
