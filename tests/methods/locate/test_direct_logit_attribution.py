from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from dimscope.core.errors import UserError
from dimscope.methods.locate.direct_logit_attribution import DirectLogitAttribution, contributions
from dimscope.models.load import Network
from dimscope.models.readout import Readout
from dimscope.numerics.resampling import mean_interval

# The blocks, attention's last map, the MLP's last map, the final norm.
LLAMA = ("model.layers", "self_attn.o_proj", "mlp.down_proj", "model.norm")
RAW = {
    "gpt2": ("transformer.h", "attn.c_proj", "mlp.c_proj", "transformer.ln_f"),
    "llama": LLAMA,
    "pythia-70m": (
        "gpt_neox.layers",
        "attention.dense",
        "mlp.dense_4h_to_h",
        "gpt_neox.final_layer_norm",
    ),
    "gemma": LLAMA,
    "qwen3": LLAMA,
    "opt": ("model.decoder.layers", "self_attn.out_proj", "fc2", "model.decoder.final_layer_norm"),
}


PARTS = ("embedding", "heads", "attention_bias", "mlp", "bias")


def ran(network, pairs, **settings):
    return DirectLogitAttribution(**{"taken": "all", **settings}).run(SimpleNamespace(network=network, pairs=pairs))


def seen_in_pass(family, model, ids):
    """Give what enters the first block, every attention's and MLP's last map and the final norm at the last token."""
    blocks, attention, mlp, norm = RAW[family]
    seen = {}

    def keep(name):
        return lambda module, args: seen.update({name: args[0].reshape(*ids.shape, -1)[:, -1]})

    named = {"embedding": model.get_submodule(blocks)[0], "last": model.get_submodule(norm)}
    for layer, block in enumerate(model.get_submodule(blocks)):
        named |= {("heads", layer): block.get_submodule(attention), ("mlp", layer): block.get_submodule(mlp)}
    with ExitStack() as stack, torch.no_grad():
        for name, module in named.items():
            stack.callback(module.register_forward_pre_hook(keep(name)).remove)
        return seen, model(input_ids=torch.from_numpy(ids)).logits[:, -1]


@torch.no_grad()
def by_hand(family, model, pairs):
    """Give every part as the fall of the logit difference when it is taken out of the last state at a fixed scale."""
    blocks, attention, mlp, norm = RAW[family]
    blocks, norm = model.get_submodule(blocks), model.get_submodule(norm)
    seen, logits = seen_in_pass(family, model, pairs.ids)
    rows, state, is_layer_norm = np.arange(len(pairs)), seen["last"], isinstance(norm, torch.nn.LayerNorm)
    scale = state.var(-1, correction=0, keepdim=True) + 1e-5 if is_layer_norm else state.square().mean(-1, True) + 1e-6

    def told(logits):
        return (logits[rows, pairs.answers] - logits[rows, pairs.others]).numpy()

    def difference(values):
        if is_layer_norm:
            normed = (values - values.mean(-1, keepdim=True)) / scale.sqrt() * norm.weight + norm.bias
        else:
            normed = values / scale.sqrt() * (1 + norm.weight if family == "gemma" else norm.weight)
        return told(model.get_output_embeddings()(normed))

    def falls(part):
        return difference(state) - difference(state - part)

    found = {"embedding": falls(seen["embedding"]), "heads": [], "attention_bias": [], "mlp": []}
    for layer, block in enumerate(blocks):
        out, given = block.get_submodule(attention), seen["heads", layer]
        nothing = out(torch.zeros_like(given))
        alone = torch.eye(4).repeat_interleave(given.shape[1] // 4, dim=1)
        found["heads"].append(np.stack([falls(out(given * head) - nothing) for head in alone], axis=1))
        found["attention_bias"].append(falls(nothing))
        found["mlp"].append(falls(block.get_submodule(mlp)(seen["mlp", layer])))
    stacked = {part: np.stack(found[part], axis=1) for part in ("heads", "attention_bias", "mlp")}
    return {**found, **stacked, "bias": difference(torch.zeros_like(state))}, told(logits)


@pytest.mark.parametrize("family", RAW)
def test_every_part_is_what_is_lost_without_it(family, language_model, prompts, roughened):
    network = roughened(language_model(family))
    pairs = prompts(network)
    expected, total = by_hand(family, network.model, pairs)
    found = contributions(network, Readout.of(network), pairs)
    assert found.keys() == expected.keys()
    for part in expected:
        np.testing.assert_allclose(found[part], expected[part], atol=2e-5, err_msg=part)
    result = ran(network, pairs)
    assert result.value("largest_sum_error") < 1e-4
    summed = sum(values.reshape(len(pairs), -1).sum(axis=1) for values in found.values())
    np.testing.assert_allclose(summed, total, atol=1e-4)
    assert result.value("mean_logit_difference", text="prompt") == pytest.approx(total.mean(), abs=1e-5)
    for part in ("heads", "attention_bias", "mlp"):
        np.testing.assert_allclose(result.arrays[part].values, expected[part].mean(axis=0), atol=2e-5)


@pytest.fixture
def planted(language_model, prompts):
    """A GPT-2 of which only head 2 of layer 1 writes: always the answer's direction, whatever the prompt is."""
    network = language_model("gpt2")
    pairs = prompts(network)
    pairs = replace(pairs, answers=np.full(len(pairs), 7), others=np.full(len(pairs), 9))
    direction = network.head.weight[7] - network.head.weight[9]
    with torch.no_grad():
        for block in network.model.transformer.h:
            for linear in (block.attn.c_proj, block.mlp.c_proj):
                linear.weight.zero_()
                linear.bias.zero_()
        writer = network.model.transformer.h[1].attn
        writer.c_attn.weight[:, 64:].zero_()  # values alone: 32 queries, 32 keys, 32 values
        writer.c_attn.bias[64:] = 1
        writer.c_proj.weight[2 * 8] = direction
    return network, pairs, direction


def test_the_head_that_writes_the_answer_is_found_and_nothing_else(planted):
    network, pairs, direction = planted
    result = ran(network, pairs, num_shown=3)
    heads = result.arrays["heads"].values
    with torch.no_grad():
        embedded = network.model.transformer.wte(torch.from_numpy(pairs.ids[:, -1]))
        state = embedded + network.model.transformer.wpe.weight[pairs.ids.shape[1] - 1] + direction
        scale = (state.var(-1, correction=0) + 1e-5).sqrt()
        expected = ((direction - direction.mean()).square().sum() / scale).numpy()
    assert heads[1, 2] == pytest.approx(expected.mean(), abs=1e-4)
    number = result.number("mean_contribution", part="heads", layer=1, head=2, text="prompt")
    assert number.interval == pytest.approx(mean_interval(expected.astype(np.float64)), abs=1e-3)
    heads[1, 2] = 0
    assert not heads.any()
    assert not result.arrays["mlp"].values.any()
    assert not result.arrays["attention_bias"].values.any()
    sums = [result.value("mean_sum", part=part, text="prompt") for part in PARTS]
    assert sum(sums) == pytest.approx(result.value("mean_logit_difference", text="prompt"), abs=1e-4)


def test_counterfactuals_are_taken_apart_along_the_same_direction(language_model, prompts):
    network = language_model("gpt2")
    pairs = prompts(network)
    expected, total = by_hand("gpt2", network.model, replace(pairs, ids=pairs.counterfactual_ids))
    result = ran(network, pairs, num_shown=8)
    assert result.value("mean_logit_difference", text="counterfactual") == pytest.approx(total.mean(), abs=1e-5)
    for part in PARTS:
        summed = expected[part].reshape(len(pairs), -1).sum(axis=1)
        assert result.value("mean_sum", part=part, text="counterfactual") == pytest.approx(summed.mean(), abs=2e-5)
    told = [each for each in result.numbers if each.name == "mean_contribution" and each.where.get("head") is not None]
    assert told
    for number in (each for each in told if each.where["text"] == "counterfactual"):
        of_head = expected["heads"][:, number.where["layer"], number.where["head"]]
        assert number.value == pytest.approx(of_head.mean(), abs=2e-5)


def test_the_furthest_parts_are_told_in_order(language_model, prompts):
    network = language_model("llama")
    pairs = prompts(network)
    result = ran(network, pairs, num_shown=4)
    told = [each for each in result.numbers if each.name == "mean_contribution" and each.where["text"] == "prompt"]
    assert [each.where["rank"] for each in told] == [1, 2, 3, 4]
    every = np.concatenate(
        [
            values.reshape(len(pairs), -1).mean(axis=0)
            for values in contributions(network, Readout.of(network), pairs).values()
        ]
    )
    np.testing.assert_allclose([abs(each.value) for each in told], np.sort(np.abs(every))[::-1][:4])


def test_a_classifier_of_a_decoder_is_taken_apart_too(tiny_network, prompts):
    network = tiny_network("gpt2")
    ids = prompts(network)
    pairs = replace(
        ids,
        answers=np.arange(12) % 3,
        others=(np.arange(12) + 1) % 3,
        options=np.empty((0, 0), np.int64),
        is_right=np.empty((0, 0), bool),
        is_right_counterfactual=np.empty((0, 0), bool),
    )
    result = ran(network, pairs)
    with torch.no_grad():
        batch = {"input_ids": torch.from_numpy(pairs.ids), "attention_mask": torch.from_numpy(pairs.mask)}
        logits = network.model.score(network.model.base_model(**batch).last_hidden_state[:, -1]).numpy()
    rows = np.arange(12)
    total = (logits[rows, pairs.answers] - logits[rows, pairs.others]).mean()
    assert result.value("mean_logit_difference", text="prompt") == pytest.approx(total, abs=1e-5)
    assert result.value("largest_sum_error") < 1e-4


def test_prompts_of_different_lengths_are_each_read_at_their_end(language_model, prompts):
    network = language_model("gpt2")
    whole = prompts(network)
    ids, mask = whole.ids.copy(), whole.mask.copy()
    ids[::2, -3:], mask[::2, -3:] = network.pad_id, 0
    ends = mask.sum(axis=1) - 1
    pairs = replace(whole, ids=ids, mask=mask, counterfactual_ids=ids, places={"end": ends})
    found = contributions(network, Readout.of(network), pairs)
    alone = contributions(
        network,
        Readout.of(network),
        replace(
            whole.at(np.arange(1)), ids=ids[:1, : ends[0] + 1], mask=mask[:1, : ends[0] + 1], places={"end": ends[:1]}
        ),
    )
    for part in found:
        np.testing.assert_allclose(found[part][:1], alone[part], atol=1e-5)


def test_an_encoder_is_refused(tiny_network):
    with pytest.raises(UserError, match="more than one linear map"):
        ran(tiny_network("bert"), None)


def test_norms_behind_attention_and_mlp_are_refused(language_model, prompts):
    tokenizer = language_model("llama").tokenizer
    config = AutoConfig.for_model(
        "gemma2", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        intermediate_size=64, vocab_size=len(tokenizer), initializer_range=0.2, final_logit_softcapping=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config).eval()
    network = Network("gemma2", model, tokenizer, is_decoder=True)
    with pytest.raises(UserError, match="parts' sum misses the logit difference"):
        ran(network, prompts(network))


def test_what_the_model_does_not_know_is_left_out(language_model, prompts):
    network = language_model("gpt2")
    pairs = prompts(network)
    with torch.no_grad():
        logits = network.model(input_ids=torch.from_numpy(pairs.ids)).logits[:, -1].numpy()
    wanted = logits.argmax(axis=1)
    wanted[:5] = logits[:5].argmin(axis=1)
    empty = {name: np.empty((0, 0), np.int64) for name in ("options", "is_right", "is_right_counterfactual")}
    told = replace(pairs, answers=wanted, others=logits.argsort(axis=1)[:, 5], **empty)
    result = ran(network, told, taken="known")
    assert result.value("known_fraction") == pytest.approx(7 / 12)
    np.testing.assert_allclose(
        result.arrays["mlp"].values, ran(network, told.at(np.arange(5, 12))).arrays["mlp"].values
    )
