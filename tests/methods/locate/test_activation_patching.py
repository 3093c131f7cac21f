"""A model in which one head alone carries what the answer needs: it has all of the answer, and no other has any."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dimscope.core.errors import UserError
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.methods.locate.activation_patching import ActivationPatching
from dimscope.models.load import load_language_model

CARRIER = (1, 2)
ROUNDING = 1e-6


@pytest.fixture(scope="module")
def bench(tiny_folder):
    """Only one head's output and no MLP's reaches the stream; so the end learns of the other tokens through it alone."""
    network = load_language_model(str(tiny_folder("llama")))
    with torch.no_grad():
        for layer, block in enumerate(network.model.model.layers):
            block.mlp.down_proj.weight.zero_()
            kept = block.self_attn.o_proj.weight.clone()
            block.self_attn.o_proj.weight.zero_()
            if layer == CARRIER[0]:
                dims = slice(CARRIER[1] * network.head_dim, (CARRIER[1] + 1) * network.head_dim)
                block.self_attn.o_proj.weight[:, dims] = kept[:, dims]
    return SimpleNamespace(network=network, pairs=make_prompts("induction", network.tokenizer, 12, 0))


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_the_head_that_carries_the_answer_has_all_of_it_and_the_others_nothing(bench, direction):
    result = ActivationPatching(taken="all", direction=direction).run(bench)
    heads = result.arrays["heads"].values
    assert heads[CARRIER] == pytest.approx(1, abs=1e-5)
    assert np.abs(np.delete(heads.ravel(), np.ravel_multi_index(CARRIER, heads.shape))).max() < ROUNDING
    first = result.number("patched_share", part="heads", rank=1)
    assert (first.where["layer"], first.where["head"]) == CARRIER
    assert result.value("median_absolute_share", part="heads") < ROUNDING


def test_the_answer_is_in_the_last_tokens_state_only_after_that_layer(bench):
    result = ActivationPatching(taken="all").run(bench)
    end = result.arrays["state"].ticks["token"].index("end")
    assert result.arrays["state"].values[CARRIER[0], end] == pytest.approx(1, abs=1e-5)
    assert result.arrays["attention"].values[CARRIER[0], end] == pytest.approx(1, abs=1e-5)
    assert np.abs(result.arrays["mlp"].values).max() < ROUNDING


def test_a_probability_is_read_from_all_outputs(bench):
    result = ActivationPatching(taken="all", metric="probability", parts=("heads",)).run(bench)
    pairs = bench.pairs
    with torch.inference_mode():
        logits = bench.network.model(input_ids=torch.from_numpy(pairs.ids)).logits
    expected = logits[np.arange(len(pairs)), pairs.places["end"]].softmax(1)[np.arange(len(pairs)), pairs.answers]
    assert result.value("mean_probability", text="prompt") == pytest.approx(float(expected.mean()), rel=1e-4)
    assert result.arrays["heads"].values[CARRIER] == pytest.approx(1, abs=1e-4)


def test_prompts_whose_counterfactual_changes_nothing_are_refused(bench):
    same = replace(bench.pairs, counterfactual_ids=bench.pairs.ids)
    with pytest.raises(UserError, match="give the same"):
        ActivationPatching(taken="all").run(SimpleNamespace(network=bench.network, pairs=same))


def test_a_model_that_has_nothing_right_is_refused(bench):
    with pytest.raises(UserError, match="take other prompts or another model"):
        ActivationPatching().run(bench)
