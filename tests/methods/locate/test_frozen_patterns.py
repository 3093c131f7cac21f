"""A model that frozen attention patterns make linear: what heads do to the logits adds up, and matrix products give it."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from dimscope.activations.continuation import Continuation
from dimscope.activations.edits import Edit, Rows, edit
from dimscope.activations.patching import Reading, paths_to_logits
from dimscope.activations.patterns import attention_patterns
from dimscope.methods.locate.direct_logit_attribution import contributions
from dimscope.models.load import Network
from dimscope.models.readout import Readout
from dimscope.scoring.metrics import bound

NUM_TOKENS, NUM_HEADS, HEAD_DIM = 8, 4, 8


class FixedNorm(nn.Module):
    """A LayerNorm with its scale held."""

    def __init__(self, norm, scale):
        super().__init__()
        self.norm, self.scale = norm, scale

    def forward(self, states):
        return (states - states.mean(-1, keepdim=True)) * self.scale * self.norm.weight + self.norm.bias


@pytest.fixture(scope="module")
def linear(small_gpt2):
    """A random decoder of attention alone, linear but for its patterns, in float64; and prompts, none as another."""
    model = small_gpt2(num_layers=3).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for values in model.parameters():
            if values.ndim == 1:
                values += 0.3 * torch.randn(values.shape, generator=generator, dtype=values.dtype)
    for block in model.transformer.h:
        block.ln_1 = nn.Identity()
        for each in block.mlp.c_proj.parameters():
            each.data.zero_()
    model.transformer.ln_f = FixedNorm(model.transformer.ln_f, scale=0.7)
    rng = np.random.default_rng(0)
    ids = rng.integers(NUM_TOKENS, size=(10, 6))
    network = Network("linear", model, None, is_decoder=True)
    batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.ones(10, 6, dtype=torch.long)}
    patterns = attention_patterns(network, batch, range(3))
    answers = rng.integers(NUM_TOKENS, size=10)
    return SimpleNamespace(
        network=network,
        ids=ids,
        answers=answers,
        others=(answers + rng.integers(1, NUM_TOKENS, size=10)) % NUM_TOKENS,
        patterns=[patterns[layer].numpy() for layer in range(3)],
    )


@pytest.fixture(scope="module")
def changed_at(linear, id_pairs):
    """Makes pairs whose counterfactuals have other tokens at these places."""

    def make(*tokens):
        ids = linear.ids.copy()
        ids[:, tokens] = (ids[:, tokens] + 1 + np.arange(10)[:, None] % (NUM_TOKENS - 1)) % NUM_TOKENS
        return id_pairs(linear.ids, ids, linear.answers, linear.others)

    return make


def frozen(linear, rows=slice(None)):
    """Within the block every token attends as it does in the prompts."""
    return edit(
        linear.network,
        [Edit(f"layers.{layer}.attn.pattern", Rows(each[rows])) for layer, each in enumerate(linear.patterns)],
    )


def by_hand(linear, ids):
    """The logit difference of the model with frozen patterns, by matrix products alone."""
    model = linear.network.model
    weights = {name: values.detach().numpy() for name, values in model.named_parameters()}
    stream = weights["transformer.wte.weight"][ids] + weights["transformer.wpe.weight"]
    for layer, pattern in enumerate(linear.patterns):
        attn = f"transformer.h.{layer}.attn"
        values = (stream @ weights[f"{attn}.c_attn.weight"] + weights[f"{attn}.c_attn.bias"])[..., 64:]
        heads = np.einsum("bhqk,bkhd->bqhd", pattern, values.reshape(10, 6, NUM_HEADS, HEAD_DIM))
        stream = stream + heads.reshape(10, 6, 32) @ weights[f"{attn}.c_proj.weight"] + weights[f"{attn}.c_proj.bias"]
    centered = stream[:, -1] - stream[:, -1].mean(-1, keepdims=True)
    normed = centered * 0.7 * weights["transformer.ln_f.norm.weight"] + weights["transformer.ln_f.norm.bias"]
    logits = normed @ weights["lm_head.weight"].T
    return logits[np.arange(10), linear.answers] - logits[np.arange(10), linear.others]


def direct_effects(linear, pairs, patterns_are_frozen=True):
    """What every head changes along its own path to the logits: [heads, pairs]."""
    sites = tuple(f"layers.{layer}.attn.heads" for layer in range(3))
    senders = [(layer, head) for layer in range(3) for head in range(NUM_HEADS)]
    found = []
    for row in range(len(pairs)):
        one = pairs.at(np.array([row]))
        inputs = [{"input_ids": torch.from_numpy(ids)} for ids in (one.ids, one.counterfactual_ids)]
        with frozen(linear, slice(row, row + 1)) if patterns_are_frozen else nullcontext():
            mask = torch.from_numpy(one.mask)
            runs = [Continuation(linear.network, {**each, "attention_mask": mask}, sites=sites) for each in inputs]
        reading = Reading(*bound("logit_difference", one.answers, one.others))
        found.append(paths_to_logits(*runs, senders, reading) - reading.of_unchanged(runs[0]))
    return torch.cat(found, dim=1).numpy()


def test_direct_effects_of_all_heads_sum_to_the_total(linear, changed_at):
    pairs = changed_at(0, 3)
    total = by_hand(linear, pairs.counterfactual_ids) - by_hand(linear, pairs.ids)
    assert np.abs(total).min() > 1e-3
    np.testing.assert_allclose(direct_effects(linear, pairs).sum(axis=0), total, rtol=0, atol=1e-10)


def test_direct_effects_of_two_changes_add_up_for_every_head_once_patterns_are_frozen(linear, changed_at):
    both_changed, *alone = (changed_at(*tokens) for tokens in ((0, 3), (0,), (3,)))

    def excess(patterns_are_frozen):
        together, *apart = (direct_effects(linear, each, patterns_are_frozen) for each in (both_changed, *alone))
        return np.abs(together - sum(apart)).max()

    assert excess(patterns_are_frozen=True) < 1e-10
    assert excess(patterns_are_frozen=False) > 1e-2


def test_differences_of_what_heads_add_directly_sum_to_the_total(linear, changed_at):
    """States are kept in float32, hence the tolerance."""
    pairs = changed_at(0, 3)
    total = by_hand(linear, pairs.counterfactual_ids) - by_hand(linear, pairs.ids)
    readout = Readout.of(linear.network)
    for row in range(len(pairs)):
        one = pairs.at(np.array([row]))
        with frozen(linear, slice(row, row + 1)):
            heads = [contributions(linear.network, readout, each)["heads"].sum() for each in (one, one.swapped())]
        # Swapped pairs ask for the other's logit over the answer's.
        assert -heads[1] - heads[0] == pytest.approx(total[row], abs=1e-5)
