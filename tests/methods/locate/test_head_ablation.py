"""A model of which one head alone writes: only without it is anything lost, and how much is what a raw hook gives."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dimscope.core import seeds
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.methods.locate.head_ablation import HeadAblation, another
from dimscope.models.load import load_language_model

WRITER = (1, 2)


@pytest.fixture(scope="module")
def bench(tiny_folder):
    network = load_language_model(str(tiny_folder("gpt2")))
    size = network.head_dim
    with torch.no_grad():
        for layer, block in enumerate(network.model.transformer.h):
            kept = block.attn.c_proj.weight.clone()
            block.attn.c_proj.weight.zero_()
            if layer == WRITER[0]:
                rows = slice(WRITER[1] * size, (WRITER[1] + 1) * size)
                block.attn.c_proj.weight[rows] = kept[rows]
    return SimpleNamespace(network=network, pairs=make_prompts("induction", network.tokenizer, 8, 0), seed=1)


def by_hand(bench, change):
    """The logit difference of every prompt with the writer's values changed."""
    place = bench.network.model.transformer.h[WRITER[0]].attn.c_proj
    size, pairs = bench.network.head_dim, bench.pairs
    dims = slice(WRITER[1] * size, (WRITER[1] + 1) * size)

    def hook(module, args):
        values = args[0].clone()
        values[..., dims] = change(values[..., dims])
        return (values,)

    handle = place.register_forward_pre_hook(hook)
    with torch.inference_mode():
        logits = bench.network.model(input_ids=torch.from_numpy(pairs.ids)).logits.numpy()
    handle.remove()
    rows = np.arange(len(pairs))
    read = logits[rows, pairs.places["end"]]
    return read[rows, pairs.answers] - read[rows, pairs.others]


CHANGES = {
    "zero": torch.zeros_like,
    "mean": lambda values: values.flatten(0, 1).mean(0).expand_as(values),
}


@pytest.mark.parametrize("fill", CHANGES)
def test_only_the_head_that_writes_is_needed_and_its_change_is_that_of_a_raw_hook(bench, fill):
    assert (bench.pairs.mask == 1).all()
    result = HeadAblation(taken="all", fills=(fill,)).run(bench)
    expected = (by_hand(bench, CHANGES[fill]) - by_hand(bench, lambda values: values)).mean()
    found = result.arrays[fill].values
    assert abs(expected) > 1e-3
    assert found[WRITER] == pytest.approx(expected, abs=1e-5)
    found = found.copy()
    found[WRITER] = 0
    assert np.abs(found).max() < 1e-5
    first = result.number("change_of_logit_difference", rank=1)
    assert (first.where["layer"], first.where["head"]) == WRITER


def test_another_prompts_values_are_those_of_the_same_head_at_the_same_token(bench):
    others = another(len(bench.pairs), seeds.stream(bench.seed, "another prompt"))
    assert not (others == np.arange(len(others))).any()
    expected = by_hand(bench, lambda values: values[torch.from_numpy(others)]) - by_hand(bench, lambda values: values)
    result = HeadAblation(taken="all", fills=("resample",)).run(bench)
    assert result.arrays["resample"].values[WRITER] == pytest.approx(expected.mean(), abs=1e-5)


def test_accuracy_can_be_read_too(bench):
    result = HeadAblation(taken="all", metric="accuracy", fills=("zero",)).run(bench)
    assert 0 <= result.value("mean_accuracy", ablated="nothing") <= 1
