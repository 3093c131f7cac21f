from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dimscope.core.errors import UnknownName, UserError
from dimscope.methods.locate.logit_lens import LogitLens, lens, settled_layer
from dimscope.models.load import load
from dimscope.models.readout import Readout
from dimscope.numerics.resampling import mean_interval, wilson_interval

RAW = {
    "gpt2": ("transformer.h", "transformer.ln_f"),
    "llama": ("model.layers", "model.norm"),
    "pythia-160m": ("gpt_neox.layers", "gpt_neox.final_layer_norm"),
    "gemma": ("model.layers", "model.norm"),
    "opt": ("model.decoder.layers", "model.decoder.final_layer_norm"),
}


def ran(network, pairs, **settings):
    bench = SimpleNamespace(network=network, pairs=pairs, seed=1)
    return LogitLens(**{"taken": "all", **settings}).run(bench)


@torch.no_grad()
def by_hand(family, model, ids, token):
    """Give the log-probabilities of all outputs after each block [pairs, layers, outputs], and the model's own."""
    blocks, norm = (model.get_submodule(name) for name in RAW[family])
    seen = []

    def keep(module, args, output):
        seen.append(output[0] if isinstance(output, tuple) else output)

    with ExitStack() as stack:
        for block in blocks:
            stack.callback(block.register_forward_hook(keep).remove)
        logits = model(input_ids=torch.from_numpy(ids)).logits
    read = torch.stack([model.get_output_embeddings()(norm(states[:, token])) for states in seen], dim=1)
    return read.log_softmax(-1).numpy(), logits[:, token].log_softmax(-1).numpy()


@pytest.mark.parametrize("family", RAW)
def test_every_layer_is_read_through_the_norm_and_the_head(family, language_model, prompts):
    network = language_model(family)
    pairs = prompts(network)
    pairs = replace(pairs, places={**pairs.places, "fourth": np.full(len(pairs), 3)})
    outputs = np.stack([pairs.answers, pairs.others], axis=1)
    log_probabilities, ranks = lens(network, Readout.of(network), pairs, outputs, ("end", "fourth"))
    rows = np.arange(len(pairs))
    for place, token in enumerate((-1, 3)):
        expected, _ = by_hand(family, network.model, pairs.ids, token)
        for number, output in enumerate(outputs.T):
            own = expected[rows, :, output]
            np.testing.assert_allclose(log_probabilities[:, :, place, number], own, atol=2e-5)
            # Two logits that are nearer than rounding may stand either way.
            best, worst = ((expected > own[..., None] + near).sum(axis=-1) for near in (1e-4, -1e-4))
            assert (best == worst - 1).mean() > 0.9
            assert ((best < ranks[:, :, place, number]) & (ranks[:, :, place, number] <= worst)).all()


@pytest.mark.parametrize("family", RAW)
def test_after_the_last_layer_the_lens_is_the_model(family, language_model, prompts):
    network = language_model(family)
    pairs = prompts(network)
    everything = np.tile(np.arange(network.num_labels), (len(pairs), 1))
    log_probabilities, _ = lens(network, Readout.of(network), pairs, everything, ("end",))
    _, own = by_hand(family, network.model, pairs.ids, -1)
    np.testing.assert_allclose(log_probabilities[:, -1, 0], own, atol=1e-5)


def test_arrays_and_numbers_are_means_over_pairs(language_model, prompts):
    network = language_model("pythia-160m")
    pairs = prompts(network)
    result = ran(network, pairs)
    expected, _ = by_hand("pythia-160m", network.model, pairs.ids, -1)
    rows = np.arange(len(pairs))
    answer, other = expected[rows, :, pairs.answers], expected[rows, :, pairs.others]
    np.testing.assert_allclose(result.arrays["logit_difference"].values[:, 0], (answer - other).mean(0), atol=2e-5)
    np.testing.assert_allclose(result.arrays["log_probability"].values[:, 0, 0], answer.mean(0), atol=2e-5)
    np.testing.assert_allclose(result.arrays["log_probability"].values[:, 0, 1], other.mean(0), atol=2e-5)
    ranks = (expected >= answer[..., None]).sum(axis=-1)
    np.testing.assert_array_equal(result.arrays["median_rank"].values[:, 0, 0], np.median(ranks, axis=0))
    assert result.arrays["log_probability"].values.shape == (3, 1, 3)


@pytest.fixture
def planted(language_model, prompts):
    """A Pythia of three layers whose last but one MLP alone writes, and always the same answer's direction."""
    network = language_model("pythia-160m")
    pairs = prompts(network)
    with torch.no_grad():
        for layer in network.model.gpt_neox.layers:
            for linear in (layer.attention.dense, layer.mlp.dense_4h_to_h):
                linear.weight.zero_()
                linear.bias.zero_()
        # Without any block, tokens that are not the last one are never first: the embedding is the head's own matrix.
        answer = next(token for token in range(20, 360) if not (pairs.ids == token).any())
        network.model.gpt_neox.layers[1].mlp.dense_4h_to_h.bias += 100 * network.head.weight[answer]
    return network, replace(pairs, answers=np.full(len(pairs), answer))


def test_the_layer_that_writes_the_answer_is_the_one_from_which_on_it_is_first(planted):
    network, pairs = planted
    result = ran(network, pairs)
    number = result.number("mean_settled_layer", token="end", output="answer")
    assert (number.value, result.value("settled_fraction", token="end", output="answer")) == (1, 1)
    assert result.arrays["settled_layer"].values[:, 0, 0].tolist() == [1] * len(pairs)
    assert result.arrays["first_fraction"].values[:, 0].tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 0]]
    for control in ("other", "random"):
        number = result.number("settled_fraction", token="end", output=control)
        assert (number.value, number.interval) == (0, wilson_interval(0, len(pairs)))
    assert len([each for each in result.numbers if each.name == "mean_settled_layer"]) == 1
    assert result.value("ahead_fraction", token="end", output="answer") == 1
    assert result.value("ahead_fraction", token="end", output="other") == 0


def test_the_answer_is_ahead_of_the_other_from_where_its_logit_stays_higher(language_model, prompts):
    network = language_model("pythia-160m")
    pairs = prompts(network, 40)
    expected, _ = by_hand("pythia-160m", network.model, pairs.ids, -1)
    rows = np.arange(len(pairs))
    is_ahead = expected[rows, :, pairs.answers] > expected[rows, :, pairs.others]
    result = ran(network, pairs)
    for output, leads in (("answer", is_ahead), ("other", ~is_ahead)):
        from_on = [next(layer for layer in range(3) if own[layer:].all()) for own in leads if own[-1]]
        number = result.number("mean_ahead_layer", token="end", output=output)
        assert number.value == pytest.approx(np.mean(from_on))
        assert number.interval == pytest.approx(mean_interval(np.array(from_on)))
        assert result.value("ahead_fraction", token="end", output=output) == len(from_on) / len(pairs)


def test_settling_is_told_of_those_that_settle(language_model, prompts):
    network = language_model("gpt2")
    pairs = prompts(network)
    expected, _ = by_hand("gpt2", network.model, pairs.ids, -1)
    answers = expected[:, -1].argmax(axis=1)
    answers[:3] = expected[:3, -1].argmin(axis=1)
    result = ran(network, replace(pairs, answers=answers))
    layers = np.where(expected[:, 0].argmax(axis=1) == answers, 0.0, 1.0)[3:]
    number = result.number("mean_settled_layer", token="end", output="answer")
    assert number.value == pytest.approx(layers.mean())
    assert number.interval == pytest.approx(mean_interval(layers), nan_ok=True)
    assert result.value("settled_fraction", token="end", output="answer") == 9 / 12


def test_a_lead_that_is_lost_again_does_not_count():
    is_first = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(settled_layer(is_first), [3, 3, 0, np.nan, np.nan])


def test_the_random_output_is_never_the_answer_and_depends_on_the_seed(language_model, prompts):
    network = language_model("gpt2")
    pairs = prompts(network, 40)
    results = [
        LogitLens(taken="all").run(SimpleNamespace(network=network, pairs=pairs, seed=seed)) for seed in (1, 1, 2)
    ]
    of_random = [each.arrays["log_probability"].values[:, 0, 2].tolist() for each in results]
    assert of_random[0] == of_random[1] != of_random[2]
    two = SimpleNamespace(network=network, pairs=replace(pairs, answers=pairs.answers % 2), seed=1)
    assert np.isfinite(LogitLens(taken="all").run(two).arrays["log_probability"].values).all()


def test_of_two_classes_the_random_one_is_the_one_that_is_not_right(tiny_folder, prompts):
    network = load(str(tiny_folder("llama")), num_labels=2, seed=1)
    given = prompts(network)
    classes = np.arange(12) % 2
    empty = {name: np.empty((0, 0), np.int64) for name in ("options", "is_right", "is_right_counterfactual")}
    result = ran(network, replace(given, answers=classes, others=1 - classes, **empty))
    values = result.arrays["log_probability"].values
    np.testing.assert_array_equal(values[..., 1], values[..., 2])
    with torch.no_grad():
        own = network.model.score(network.model.base_model(input_ids=torch.from_numpy(given.ids))[0][:, -1])
    expected = own.log_softmax(-1).numpy()[np.arange(12), classes]
    assert values[-1, 0, 0] == pytest.approx(expected.mean(), abs=1e-5)


def test_an_encoder_and_a_token_that_is_not_there_are_refused(tiny_network, language_model, prompts):
    with pytest.raises(UserError, match="more than one linear map"):
        ran(tiny_network("bert"), None)
    network = language_model("gpt2")
    with pytest.raises(UnknownName, match=r"'S9'.*end"):
        ran(network, prompts(network), tokens=("S9",))
