"""MLPs whose output is planted as a weighted sum of heads' outputs and a vector."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from dimscope.core.errors import UserError
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.methods.locate.head_reweighting import HeadReweighting
from dimscope.models.load import load, load_language_model

HEADS, WEIGHTS = ("0.1", "0.3", "1.0"), {0: (-1.0, 0.5), 1: (0.0, -1.0, 2.0)}


def ran(network, pairs, **settings):
    bench = SimpleNamespace(network=network, pairs=pairs, seed=1)
    return HeadReweighting(**{"taken": "all", **settings}).run(bench)


@pytest.fixture
def network(tiny_folder):
    return load_language_model(str(tiny_folder("llama")))


@pytest.fixture
def pairs(network):
    return make_prompts("induction", network.tokenizer, 30, 0)


@pytest.fixture
def planted(network, pairs):
    """Every MLP gives what WEIGHTS say of the heads' outputs in this very pass, and a vector of its own."""
    written = {}
    intercepts = 3 * torch.randn(2, 32, generator=torch.Generator().manual_seed(0))

    def keep(layer):
        def look(module, args):
            for head in range(4):
                alone = torch.zeros_like(args[0])
                alone[..., 8 * head : 8 * head + 8] = args[0][..., 8 * head : 8 * head + 8]
                written[f"{layer}.{head}"] = alone @ module.weight.T

        return look

    def give(layer):
        def mixed(module, args, output):
            parts = zip(WEIGHTS[layer], HEADS, strict=False)
            return sum(weight * written[head] for weight, head in parts) + intercepts[layer]

        return mixed

    with ExitStack() as stack:
        for layer, block in enumerate(network.model.model.layers):
            stack.callback(block.self_attn.o_proj.register_forward_pre_hook(keep(layer)).remove)
            stack.callback(block.mlp.down_proj.register_forward_hook(give(layer)).remove)
        yield network, pairs, intercepts


def test_planted_weights_and_intercepts_are_found(planted):
    network, pairs, intercepts = planted
    result = ran(network, pairs, heads=HEADS)
    for layer, weights in WEIGHTS.items():
        for head, weight in zip(HEADS, weights, strict=False):
            number = result.number("weight", layer=layer, head=head)
            assert number.value == pytest.approx(weight, abs=1e-3)
            assert number.interval == pytest.approx((weight, weight), abs=1e-2)
        length = float(intercepts[layer].norm())
        assert result.value("intercept_length", layer=layer) == pytest.approx(length, rel=0.01)
        assert result.value("r2_score", layer=layer, fit="heads") > 0.999
        assert result.value("mean_cosine", layer=layer, fit="heads") > 0.999
        assert result.value("mean_cosine", layer=layer, fit="intercept alone") < 0.999
        assert 1 <= result.value("condition_number", layer=layer) < 30
    np.testing.assert_allclose(result.arrays["weight"].values, [[-1, 0.5, np.nan], [0, -1, 2]], atol=1e-3)


@pytest.mark.parametrize("control", ["scrambled prompts", "scrambled subjects"])
def test_scrambled_prompts_explain_nothing(control, planted):
    network, pairs, _ = planted
    result = ran(network, pairs, heads=HEADS)
    for layer in (0, 1):
        number = result.number("r2_score", layer=layer, fit=control)
        if control == "scrambled prompts":
            assert -0.5 < number.value < 0.1
            assert number.interval[0] <= number.value <= number.interval[1]
        else:  # no two prompts share a sentence, so that there is nothing to exchange
            assert number.value == pytest.approx(result.value("r2_score", layer=layer, fit="heads"))


def test_subjects_are_exchanged_within_a_sentence_alone(planted):
    network, pairs, _ = planted
    rng = np.random.default_rng(0)
    sentence = pairs.ids[0].copy()
    ids = np.tile(sentence, (30, 1))
    ids[:, 5] = rng.permutation(np.arange(20, 320))[:30]
    same = replace(pairs, ids=ids, places={**pairs.places, "subject": np.full(30, 5)})
    result = ran(network, same, heads=HEADS)
    assert (result.value("num_subjects"), result.value("exchangeable_fraction")) == (30, 1)
    assert result.value("r2_score", layer=0, fit="heads") > 0.999
    assert result.value("r2_score", layer=0, fit="scrambled subjects") < 0.2


def test_an_intercept_that_says_the_answer_raises_it(planted):
    network, pairs, intercepts = planted
    pairs = replace(pairs, answers=np.full(30, 40))
    with torch.no_grad():
        intercepts[1] = 100 * network.head.weight[40]
    result = ran(network, pairs, heads=HEADS)
    assert result.value("raised_fraction", layer=1, added="intercept") > 0.9
    assert result.value("raised_fraction", layer=1, added="random vector") < 0.8
    message = {"message": "all heads and intercept", "output": "answer"}
    assert result.value("median_rank", **message, layer=1) <= 3


def test_heads_say_what_the_norm_and_the_head_read_of_them(network, pairs):
    pairs = replace(pairs, places={**pairs.places, "subject": np.full(30, 2)})
    seen = {}
    out = network.model.model.layers[1].self_attn.o_proj
    handle = out.register_forward_pre_hook(lambda module, args: seen.update(given=args[0][:, -1]))
    with torch.no_grad():
        network.model(input_ids=torch.from_numpy(pairs.ids))
        handle.remove()
        written = seen["given"][:, 16:24] @ out.weight[:, 16:24].T
        logits = network.model.get_output_embeddings()(network.model.model.norm(written))
    rows = np.arange(30)
    ranks = {
        output: (logits >= logits[rows, tokens].unsqueeze(1)).sum(1).numpy()
        for output, tokens in {"subject": pairs.ids[:, 2], "answer": pairs.answers}.items()
    }
    result = ran(network, pairs, heads=("1.2", "1.0"))
    for output, expected in ranks.items():
        assert result.value("median_rank", message="1.2", output=output) == pytest.approx(np.median(expected), abs=2)
    above = (ranks["subject"] < ranks["answer"]).mean()
    assert result.value("subject_above_answer_fraction", message="1.2") == pytest.approx(above, abs=0.05)


def test_attention_to_the_subject_is_hugging_faces(network, pairs, tiny_folder):
    pairs = replace(pairs, places={**pairs.places, "subject": np.full(30, 2)})
    eager = AutoModelForCausalLM.from_pretrained(tiny_folder("llama"), attn_implementation="eager").eval()
    with torch.no_grad():
        patterns = eager(input_ids=torch.from_numpy(pairs.ids), output_attentions=True).attentions[1]
    result = ran(network, pairs, heads=("1.2",))
    own = patterns[:, :, -1, 2].mean(0)
    assert result.value("attention_to_subject", head="1.2") == pytest.approx(own[2].item(), abs=1e-6)
    others = own[[0, 1, 3]].mean().item()
    assert result.value("attention_to_subject", head="others of these layers") == pytest.approx(others, abs=1e-6)


def test_without_names_the_heads_that_write_most_to_the_logits_are_taken(network, pairs):
    pairs = replace(pairs, answers=np.full(30, 40), others=np.full(30, 41))
    direction = network.head.weight[40] - network.head.weight[41]
    with torch.no_grad():
        blocks = network.model.model.layers
        blocks[1].self_attn.v_proj.weight[:] = 0.01
        blocks[1].self_attn.o_proj.weight[:, 16:24] += 1000 * direction.unsqueeze(1)
    result = ran(network, pairs, num_heads=1)
    assert result.arrays["weight"].ticks["head"] == ["1.2"]


def test_what_is_asked_wrongly_is_refused(network, pairs, tiny_folder):
    with pytest.raises(ValidationError, match="different heads"):
        HeadReweighting(heads=("1.2", "1.2"))
    with pytest.raises(UserError, match=r"has no head 2\.0"):
        ran(network, pairs, heads=("2.0",))
    with pytest.raises(UserError, match="three groups"):
        ran(network, pairs.at(np.array([0, 1])))
    with pytest.raises(UserError, match="is an encoder"):
        ran(load(str(tiny_folder("bert"))), pairs)
