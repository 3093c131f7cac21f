"""A last layer that takes the answer back, planted; and every number by raw hooks."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dimscope.core.errors import UserError
from dimscope.methods.measure.last_layer import LastLayer
from dimscope.models.load import load
from dimscope.numerics.resampling import wilson_interval

RAW = {
    "gpt2": ("transformer.h", "attn.c_proj", "mlp", "transformer.ln_f"),
    "llama": ("model.layers", "self_attn.o_proj", "mlp", "model.norm"),
    "pythia-70m": ("gpt_neox.layers", "attention.dense", "mlp", "gpt_neox.final_layer_norm"),
    "gemma": ("model.layers", "self_attn.o_proj", "mlp", "model.norm"),
}


def ran(network, pairs, **settings):
    bench = SimpleNamespace(network=network, pairs=pairs, seed=1)
    return LastLayer(**{"taken": "all", "num_resamples": 99, **settings}).run(bench)


@torch.no_grad()
def by_hand(family, model, ids):
    """Give the last layer's input, its output, and what heads, bias and MLP write, all at the last token."""
    blocks, attention, mlp, _ = RAW[family]
    block = model.get_submodule(blocks)[-1]
    out, seen = block.get_submodule(attention), {}

    def keep(name, values):
        seen[name] = (values[0] if isinstance(values, tuple) else values).reshape(*ids.shape, -1)[:, -1]

    with ExitStack() as stack:
        for name, module in {"in": block, "heads": out}.items():
            hook = module.register_forward_pre_hook(lambda _, args, name=name: keep(name, args[0]))
            stack.callback(hook.remove)
        for name, module in {"out": block, "mlp": block.get_submodule(mlp)}.items():
            hook = module.register_forward_hook(lambda _, args, output, name=name: keep(name, output))
            stack.callback(hook.remove)
        model(input_ids=torch.from_numpy(ids))
    alone = torch.eye(4).repeat_interleave(seen["heads"].shape[1] // 4, dim=1)
    nothing = out(torch.zeros_like(seen["heads"]))
    heads = [out(seen["heads"] * head) - nothing for head in alone]
    return seen["in"], seen["out"], torch.stack([*heads, nothing, seen["mlp"]], dim=1)


@pytest.mark.parametrize("family", RAW)
def test_every_share_is_the_integral_of_the_gradient_with_the_scale_held(family, language_model, prompts, roughened):
    network = roughened(language_model(family))
    pairs = prompts(network, 8)
    before, after, parts = by_hand(family, network.model, pairs.ids)
    norm, head = network.model.get_submodule(RAW[family][3]), network.model.get_output_embeddings()
    is_layer_norm = isinstance(norm, torch.nn.LayerNorm)
    scale = after.var(-1, correction=0, keepdim=True) + 1e-5 if is_layer_norm else after.square().mean(-1, True) + 1e-6

    def logits(states):  # as the last norm would, had it the scale of what leaves the last layer
        centered = states - states.mean(-1, keepdim=True) if is_layer_norm else states
        gain = 1 + norm.weight if family == "gemma" else norm.weight
        return head(centered / scale.sqrt() * gain + (norm.bias if is_layer_norm else 0))

    rows = np.arange(len(pairs))
    num_steps, expected = 200, np.zeros((len(pairs), parts.shape[1]))
    for step in range(num_steps):
        states = (before + (step + 0.5) / num_steps * parts.sum(1)).detach().requires_grad_()
        logits(states).log_softmax(-1)[rows, pairs.answers].sum().backward()
        expected += torch.einsum("pd,pcd->pc", states.grad, parts).detach().numpy() / num_steps
    found = ran(network, pairs).arrays
    np.testing.assert_allclose(found["log_probability_of_part"].values[:, :-1], expected, atol=2e-4)
    with torch.no_grad():
        whole, without = (logits(each)[rows] for each in (after, before))
        change = (whole - whole.mean(-1, keepdim=True) - without + without.mean(-1, keepdim=True))[rows, pairs.answers]
        own = head(norm(before)).log_softmax(-1)[rows, pairs.answers]
        rescaled = (without.log_softmax(-1)[rows, pairs.answers] - own).numpy()
    np.testing.assert_allclose(found["logit_of_part"].values[:, :-1].sum(1), change, atol=2e-4)
    np.testing.assert_allclose(found["log_probability_of_part"].values[:, -1], rescaled, atol=2e-4)


@pytest.mark.parametrize("family", RAW)
def test_the_shares_add_up_to_the_change_and_the_end_is_the_model(family, language_model, prompts, roughened):
    network = roughened(language_model(family))
    pairs = prompts(network, 8)
    result = ran(network, pairs)
    with torch.no_grad():
        logits = network.model(input_ids=torch.from_numpy(pairs.ids)).logits[:, -1]
    own = logits.log_softmax(-1)[np.arange(len(pairs)), pairs.answers].numpy()
    read = result.arrays["log_probability"].values
    np.testing.assert_allclose(read[:, -1], own, atol=1e-5)
    shares = result.arrays["log_probability_of_part"].values
    np.testing.assert_allclose(shares.sum(axis=1), read[:, -1] - read[:, -2], atol=2e-4)
    assert result.value("largest_sum_error") < 1e-5
    assert result.value("mean_probability", layer=network.num_layers - 1) == pytest.approx(np.exp(own).mean(), abs=1e-5)
    change = (np.exp(read[:, -1]) - np.exp(read[:, -2])).mean()
    assert result.value("probability_change", output="answer") == pytest.approx(change, abs=1e-6)
    lowered = int((read[:, -1] < read[:, -2]).sum())
    fraction = result.number("lowered_fraction", output="answer")
    assert fraction.interval == pytest.approx(wilson_interval(lowered, len(pairs)))


@pytest.fixture
def planted(language_model, prompts):
    """A GPT-2 whose first layer's MLP says token 7 whatever the prompt is, and whose second's takes half of it back."""
    network = language_model("gpt2")
    pairs = prompts(network, 8)
    pairs = replace(pairs, answers=np.full(len(pairs), 7), others=np.full(len(pairs), 9))
    with torch.no_grad():
        for block in network.model.transformer.h:
            for linear in (block.attn.c_proj, block.mlp.c_proj):
                linear.weight.zero_()
                linear.bias.zero_()
        direction = network.head.weight[7]
        network.model.transformer.h[0].mlp.c_proj.bias += 300 * direction / direction.norm()
        network.model.transformer.h[1].mlp.c_proj.bias -= 299.9 * direction / direction.norm()
    return network, pairs


def test_a_layer_that_takes_the_answer_back_is_told_and_so_is_its_part(planted):
    network, pairs = planted
    result = ran(network, pairs)
    change = result.number("log_probability_change", output="answer")
    assert change.interval[1] < -0.3
    assert result.value("lowered_fraction", output="answer") == 1
    assert result.value("lowered_fraction", output="first before") == 1
    assert result.value("mean_log_probability_share", part="MLP") < -0.3
    for head in range(4):
        assert result.value("mean_log_probability_share", part=f"head {head}") == 0
        assert result.value("mean_logit_share", part=f"head {head}") == 0
    assert result.value("mean_log_probability_share", part="all heads") == 0
    assert result.value("mean_log_probability_share", part="attention bias") == 0


def test_a_layer_that_writes_nothing_changes_nothing(planted):
    network, pairs = planted
    with torch.no_grad():
        network.model.transformer.h[1].mlp.c_proj.bias.zero_()
    result = ran(network, pairs)
    assert result.value("log_probability_change", output="answer") == 0
    assert result.value("lowered_fraction", output="answer") == 0
    assert np.abs(result.arrays["log_probability_of_part"].values).max() < 1e-5


def test_only_known_prompts_are_taken_unless_all_are_asked_for(planted):
    network, pairs = planted
    with torch.no_grad():
        network.model.transformer.h[1].mlp.c_proj.bias.zero_()
    is_right = np.array([[True, False]] * 6 + [[False, True]] * 2)
    pairs = replace(pairs, options=np.tile([7, 9], (8, 1)), is_right=is_right)
    result = ran(network, pairs, taken="known")
    assert result.value("known_fraction") == 0.75
    assert len(result.arrays["log_probability"].values) == 6


def test_what_cannot_be_taken_apart_is_refused(language_model, tiny_folder, prompts):
    encoder = load(str(tiny_folder("bert")))
    with pytest.raises(UserError, match="is an encoder"):
        ran(encoder, None)
    network = language_model("llama")
    pairs = prompts(network, 8)
    block = network.model.model.layers[-1]
    handle = block.mlp.register_forward_hook(lambda module, args, output: 2 * output)
    try:
        with pytest.raises(UserError, match="miss what it adds"):
            ran(network, pairs)
    finally:
        handle.remove()
