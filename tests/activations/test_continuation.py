"""Edits around a continuation: what does the same to every token holds in all its passes, all else is refused."""

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
MASK = torch.ones(3, NUM_TOKENS, dtype=torch.int64)
MASK[1, 6:] = 0
ROWS = Rows(np.eye(NUM_TOKENS, dtype=np.float32)[None, None, :1].repeat(3, axis=0))
LAST = np.array([[7], [5], [7]])
SINGLE = {
    "rows of one token": Edit("layers.1.attn.pattern", ROWS, heads=[2], tokens=LAST),
    "rows of all tokens": Edit("layers.1.attn.pattern", ROWS),
    "the token that is read": Edit("layers.0.out", Add(np.ones(32)), tokens="pooled"),
    "a token by its number": Edit("layers.0.out", Add(np.ones(32)), tokens=LAST),
    "values of each sentence": Edit("layers.0.out", Replace(np.ones((3, NUM_TOKENS, 32)))),
    "another sentence's values": Edit("layers.0.out", Swap(np.array([1, 2, 0]))),
}


@pytest.fixture(scope="module", params=["llama", "gpt2", "bert"])
def network(request):
    return load("tiny/bert") if request.param == "bert" else load_language_model(f"tiny/{request.param}")


@pytest.fixture(scope="module")
def batch():
    ids = torch.randint(5, 60, (3, NUM_TOKENS), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": MASK}


def test_an_edit_of_every_token_holds_in_all_passes(network, batch):
    vector = np.linspace(-3, 3, 32).astype(np.float32)
    with edit(network, [Edit("layers.0.out", Add(vector))]):
        expected = classify(network, batch)
        base = Continuation(network, batch, START)
        copies = base.outputs(0, {}, copies=2)
    assert not torch.allclose(expected, classify(network, batch), atol=1e-2)
    torch.testing.assert_close(base.unchanged, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(copies, torch.stack([expected, expected]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", SINGLE)
def test_an_edit_of_single_tokens_or_sentences_is_refused(kind, network, batch):
    base = Continuation(network, batch, START)
    with edit(network, [SINGLE[kind]]):
        with pytest.raises(UserError, match="cannot hold in a continuation"):
            Continuation(network, batch, START)
        with pytest.raises(UserError, match="cannot hold in a continuation"):
            base.outputs(0, {})
        edited = classify(network, batch)  # whole passes within the block are as ever
    assert not torch.equal(edited, classify(network, batch))
