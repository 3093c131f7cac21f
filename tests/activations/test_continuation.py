"""Edits around a continuation: what does the same to every token holds in all passes, all else in whole ones alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dimscope.activations.continuation import Continuation
from dimscope.activations.edits import Add, Edit, Replace, Rows, Swap, edit
from dimscope.core.errors import UserError
from dimscope.models.classify import classify
from dimscope.models.load import load, load_language_model

NUM_TOKENS, START = 8, 5
RNG = np.random.default_rng(0)
LAST = np.array([[7], [5], [7]])
EVERYWHERE = Edit("layers.0.out", Add(np.linspace(-3, 3, 32).astype(np.float32)))
SINGLE = {
    "rows of one token": Edit(
        "layers.0.attn.pattern", Rows(RNG.dirichlet(np.ones(6), (3, 1, 1))), heads=[2], tokens=LAST
    ),
    "rows of all tokens": Edit("layers.1.attn.pattern", Rows(RNG.dirichlet(np.ones(6), (3, 4, 8)))),
    "the token that is read": Edit("layers.0.out", Add(RNG.normal(size=32)), tokens="pooled"),
    "a token by its number": Edit("layers.0.out", Add(RNG.normal(size=32)), tokens=LAST),
    "values of each sentence": Edit("layers.0.out", Replace(RNG.normal(size=(3, NUM_TOKENS, 32)))),
    "another sentence's values": Edit("layers.0.out", Swap(np.array([1, 2, 0]))),
}


@pytest.fixture(scope="module", params=["llama", "gpt2", "bert"])
def network(request):
    return load("tiny/bert") if request.param == "bert" else load_language_model(f"tiny/{request.param}")


def batch(is_padded):
    mask = torch.ones(3, NUM_TOKENS, dtype=torch.int64)
    mask[1, 6 : NUM_TOKENS if is_padded else 6] = 0
    return {
        "input_ids": torch.randint(5, 60, mask.shape, generator=torch.Generator().manual_seed(0)),
        "attention_mask": mask,
    }


@pytest.mark.parametrize("start", [0, START])
def test_an_edit_of_every_token_holds_in_all_passes(start, network):
    with edit(network, [EVERYWHERE]):
        expected = classify(network, batch(is_padded=True))
        base = Continuation(network, batch(is_padded=True), start)
        copies = base.outputs(1, {}, copies=2)
    assert not torch.allclose(expected, classify(network, batch(is_padded=True)), atol=1e-2)
    torch.testing.assert_close(base.unchanged, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(copies, torch.stack([expected, expected]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", SINGLE)
def test_an_edit_of_single_tokens_or_sentences_holds_in_passes_of_the_whole_batch(kind, network):
    whole = batch(is_padded=False)
    with edit(network, [SINGLE[kind]]):
        expected = classify(network, whole)
        base = Continuation(network, whole)
        again = base.outputs(1, {})[0]
    assert not torch.allclose(expected, classify(network, whole), atol=1e-3)
    torch.testing.assert_close(base.unchanged, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(again, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", SINGLE)
def test_an_edit_of_single_tokens_or_sentences_is_refused_elsewhere(kind, network):
    whole, padded = batch(is_padded=False), batch(is_padded=True)
    base = Continuation(network, whole)
    with edit(network, [SINGLE[kind]]):
        with pytest.raises(UserError, match="cannot hold in a continuation"):
            base.outputs(0, {}, copies=2)
        if network.is_decoder:
            with pytest.raises(UserError, match="cannot hold in a continuation"):
                Continuation(network, whole, START)
            with pytest.raises(UserError, match="cannot hold in a continuation"):
                Continuation(network, padded)
        edited = classify(network, padded)  # other passes within the block are as ever
    assert not torch.equal(edited, classify(network, padded))
