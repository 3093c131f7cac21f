"""Each head alone as the block of `forced` has it, whole passes; and a head that nothing reads of.

What forcing does to a circuit whose weights are set by hand is in test_chain_of_heads.py.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dimscope.activations.forcing import forced
from dimscope.core.errors import UnknownName, UserError
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.methods.locate.head_forcing import HeadForcing
from dimscope.models.classify import classify
from dimscope.models.load import load_language_model

TOWARD = ("earlier", "other")


@pytest.fixture(params=["gpt2", "llama"])
def bench(request, tiny_folder):
    """Prompts of several lengths, so that the forced token stands elsewhere in each."""
    network = load_language_model(str(tiny_folder(request.param)))
    pairs = make_prompts("induction", network.tokenizer, 9, 0)
    ends = pairs.places["end"] - np.arange(9) % 3
    mask = (np.arange(pairs.ids.shape[1]) <= ends[:, None]).astype(np.int64)
    return SimpleNamespace(
        network=network, pairs=replace(pairs, mask=mask, places={**pairs.places, "end": ends}), seed=1
    )


@torch.inference_mode()
def differences(bench, heads=()):
    pairs = bench.pairs
    batch = {"input_ids": torch.from_numpy(pairs.ids), "attention_mask": torch.from_numpy(pairs.mask)}
    with forced(bench.network, pairs, heads, TOWARD):
        logits = classify(bench.network, batch).numpy()
    rows = np.arange(len(pairs))
    return logits[rows, pairs.answers] - logits[rows, pairs.others]


def test_each_head_is_forced_alone(bench):
    found = HeadForcing(toward=TOWARD, taken="all", num_shown=3).run(bench)
    changes = found.arrays["change"].values
    before = differences(bench)
    for layer, head in np.ndindex(changes.shape):
        assert changes[layer, head] == pytest.approx((differences(bench, [(layer, head)]) - before).mean(), abs=1e-5)
    assert found.value("mean_logit_difference") == pytest.approx(before.mean(), abs=1e-5)
    shown = [each for each in found.numbers if each.name == "change_of_logit_difference"]
    largest = sorted(np.abs(changes.ravel()), reverse=True)[:3]
    assert [abs(each.value) for each in shown] == pytest.approx(largest)


def test_a_head_of_which_nothing_is_read_changes_nothing(bench):
    writing = {"gpt2": lambda block: block.attn.c_proj, "llama": lambda block: block.self_attn.o_proj}
    family = bench.network.model.config.model_type
    blocks = bench.network.model.transformer.h if family == "gpt2" else bench.network.model.model.layers
    size = bench.network.head_dim
    with torch.no_grad():
        weight = writing[family](blocks[1]).weight
        (weight if family == "gpt2" else weight.T)[size : 2 * size] = 0
    changes = HeadForcing(toward=TOWARD, taken="all").run(bench).arrays["change"].values
    assert [tuple(head) for head in np.argwhere(np.abs(changes) < 1e-6)] == [(1, 1)]


def test_what_is_asked_wrongly_is_refused(bench):
    with pytest.raises(UnknownName, match="other_color"):
        HeadForcing(taken="all").run(bench)
    with pytest.raises(UserError, match="comes before 'end'"):
        HeadForcing(taken="all", toward=("end",), token="answer").run(bench)
