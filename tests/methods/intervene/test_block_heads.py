"""The oracle: the input of the output projection, zero at the heads' dims, by plain hooks; and values that are zero."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from dimscope.core.errors import UserError
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.methods.intervene.block_heads import BlockHeads, blocked
from dimscope.models.classify import classify
from dimscope.models.load import load_language_model

HEADS = ((0, 1), (1, 0), (1, 2))
NAMES = tuple("{}.{}".format(*each) for each in HEADS)


@pytest.fixture(scope="module")
def bench(tiny_folder):
    network = load_language_model(str(tiny_folder("gpt2")))
    return SimpleNamespace(network=network, pairs=make_prompts("induction", network.tokenizer, 12, 0), seed=1)


def batch_of(pairs):
    return {"input_ids": torch.from_numpy(pairs.ids), "attention_mask": torch.from_numpy(pairs.mask)}


@torch.inference_mode()
def logits_without(bench, heads, values_are_zero=False):
    """The logits at the end; what heads give is zero, or their values are."""
    size, handles = bench.network.head_dim, []
    for layer, head in heads:
        attention = bench.network.model.transformer.h[layer].attn
        dims = slice(head * size, (head + 1) * size)

        def silence(module, args, dims=dims):
            args[0][..., dims] = 0

        def clear(module, args, output, dims=dims):
            output.chunk(3, dim=-1)[2][..., dims] = 0

        handles.append(
            attention.c_attn.register_forward_hook(clear)
            if values_are_zero
            else attention.c_proj.register_forward_pre_hook(silence)
        )
    found = bench.network.model(**batch_of(bench.pairs)).logits[:, -1]
    for handle in handles:
        handle.remove()
    return found.numpy()


@torch.inference_mode()
@pytest.mark.parametrize("values_are_zero", [False, True])
def test_blocked_heads_send_nothing_which_is_as_if_their_values_were_zero(bench, values_are_zero):
    with blocked(bench.network, HEADS):
        inside = classify(bench.network, batch_of(bench.pairs)).numpy()
    np.testing.assert_allclose(inside, logits_without(bench, HEADS, values_are_zero), atol=1e-5)
    assert np.abs(inside - logits_without(bench, ())).max() > 1e-3


def test_the_numbers_are_those_of_the_oracles_logits(bench):
    found = BlockHeads(heads=NAMES, num_draws=2).run(bench)
    rows, pairs = np.arange(len(bench.pairs)), bench.pairs
    for what, heads in (("nothing", ()), ("chosen heads", HEADS)):
        read = logits_without(bench, heads)
        difference = read[rows, pairs.answers] - read[rows, pairs.others]
        assert found.value("mean_logit_difference", blocked=what) == pytest.approx(difference.mean(), abs=1e-5)
        of_options = read[rows[:, None], pairs.options].argmax(axis=1)
        right = pairs.is_right[rows, of_options].mean()
        assert found.value("accuracy", blocked=what, among="options") == pytest.approx(right)
    assert found.arrays["is_right"].axes == ("blocked", "among", "pair")


def test_what_is_asked_wrongly_is_refused(bench):
    with pytest.raises(UserError, match="wanted heads to block"):
        BlockHeads().run(bench)
    with pytest.raises(ValidationError, match="wanted different heads"):
        BlockHeads(heads=("1.1", "1.1"))
    with pytest.raises(UserError, match="heads 0 to 3"):
        BlockHeads(heads=("1.4",)).run(bench)
