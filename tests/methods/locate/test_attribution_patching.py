"""Where the model is linear in a head's output the guess is exact; elsewhere it is the slope of the exact patches."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dimscope.activations.gradients import gradients
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.methods.locate.attribution_patching import AttributionPatching
from dimscope.models.load import load, load_language_model


@pytest.fixture
def bench(tiny_folder):
    network = load_language_model(str(tiny_folder("llama")))
    return SimpleNamespace(network=network, pairs=make_prompts("induction", network.tokenizer, 8, 0))


def test_what_leads_to_the_logits_in_a_straight_line_is_guessed_exactly(bench):
    """Without the last norm, and without MLP and attention after it, the last layer's heads act linearly."""
    model = bench.network.model.model
    model.norm.forward = lambda values: values
    with torch.no_grad():
        model.layers[-1].mlp.down_proj.weight.zero_()
    result = AttributionPatching(taken="all", exact="all").run(bench)
    last = bench.network.num_layers - 1
    guessed, exact = (result.arrays[name].values[last] for name in ("attributed", "patched"))
    assert np.abs(exact).max() > 0.01
    np.testing.assert_allclose(guessed, exact, atol=1e-5)


def test_a_guess_is_the_slope_of_patches_that_go_a_little_of_the_way(bench):
    network, pairs = bench.network, bench.pairs
    sites, step = ["layers.0.attn.heads"], 1e-2
    ids, mask = torch.from_numpy(pairs.ids), torch.from_numpy(pairs.mask)
    batch = {"input_ids": ids, "attention_mask": mask}
    rows = torch.arange(len(ids))

    def value(logits):
        return logits[rows, pairs.answers] - logits[rows, pairs.others]

    slope = gradients(network, batch, sites, value)[sites[0]]
    direction = torch.randn(slope.shape, generator=torch.Generator().manual_seed(0))

    def moved(size):
        place = network.model.model.layers[0].self_attn.o_proj
        handle = place.register_forward_pre_hook(lambda _, args: (args[0] + size * direction,))
        with torch.inference_mode():
            logits = network.model(input_ids=ids, attention_mask=mask).logits[rows, pairs.places["end"]]
        handle.remove()
        return value(logits)

    expected = (moved(step) - moved(-step)) / (2 * step)
    torch.testing.assert_close((slope * direction).sum((1, 2)), expected, atol=2e-3, rtol=2e-2)
    assert all(parameter.grad is None for parameter in network.model.parameters())


def test_the_heads_shown_are_patched_exactly_and_the_error_is_told(bench):
    result = AttributionPatching(taken="all", num_shown=3).run(bench)
    errors = [
        abs(result.value("attributed_share", rank=rank) - result.value("patched_share", rank=rank))
        for rank in (1, 2, 3)
    ]
    assert result.value("largest_error") == pytest.approx(max(errors))
    assert result.value("median_error") == pytest.approx(sorted(errors)[1])


def test_a_classifiers_heads_are_guessed_too(tiny_folder):
    network = load(str(tiny_folder("bert")))
    ids = torch.randint(5, 60, (3, 6), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    found = gradients(network, batch, ["layers.1.attn.heads"], lambda logits: logits[:, 0])
    assert found["layers.1.attn.heads"].shape == (3, 6, network.hidden_size)
