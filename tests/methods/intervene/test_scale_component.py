"""Scaled parts by raw hooks, and a last MLP that takes the answer back, of which less is better."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from dimscope.core.errors import UserError
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.methods.intervene.scale_component import Component, ScaleComponent, component, elsewhere, scaled
from dimscope.numerics.resampling import mean_interval

RAW = {
    "gpt2": ("transformer.h", "attn.c_proj", "mlp"),
    "llama": ("model.layers", "self_attn.o_proj", "mlp"),
    "pythia-70m": ("gpt_neox.layers", "attention.dense", "mlp"),
}
METRICS = ("accuracy", "probability", "log_probability", "logit_difference")


def bench_of(network, pairs=None):
    return SimpleNamespace(network=network, pairs=pairs or make_prompts("induction", network.tokenizer, 10, 0), seed=1)


@torch.no_grad()
def by_hand(family, model, pairs, layer, part, factor):
    """Give the metrics of every pair when a raw hook scales what the part gives at the last token."""
    blocks, attention, mlp = RAW[family]
    block = model.get_submodule(blocks)[layer]

    def scaled_at_end(values, dims=slice(None)):
        whole = values[0] if isinstance(values, tuple) else values
        new = whole.clone()
        new[:, -1, dims] *= factor
        return (new, *values[1:]) if isinstance(values, tuple) else new

    with ExitStack() as stack:
        if part.isdecimal():
            dims = slice(8 * int(part), 8 * int(part) + 8)
            hook = block.get_submodule(attention).register_forward_pre_hook(
                lambda module, args: (scaled_at_end(args[0], dims), *args[1:])
            )
        else:
            module = block.get_submodule({"attention": attention, "mlp": mlp}[part])
            hook = module.register_forward_hook(lambda module, args, output: scaled_at_end(output))
        stack.callback(hook.remove)
        logits = model(input_ids=torch.from_numpy(pairs.ids)).logits[:, -1]
    rows = np.arange(len(pairs))
    probabilities = logits.softmax(-1)[rows, pairs.answers]
    return {
        "accuracy": (logits.argmax(-1).numpy() == pairs.answers).astype(float),
        "probability": probabilities.numpy(),
        "log_probability": probabilities.log().numpy(),
        "logit_difference": (logits[rows, pairs.answers] - logits[rows, pairs.others]).numpy(),
    }


@pytest.mark.parametrize("family", RAW)
@pytest.mark.parametrize("part", ["mlp", "attention", "2"])
def test_numbers_are_those_of_raw_hooks(family, part, language_model):
    bench = bench_of(language_model(family))
    result = ScaleComponent(parts=(f"1.{part}",), doses=(0.5, 1.0, -1.0)).run(bench)
    before = by_hand(family, bench.network.model, bench.pairs, 1, part, 1)
    for dose in (0.5, 1.0, -1.0):
        expected = by_hand(family, bench.network.model, bench.pairs, 1, part, 1 - dose)
        for metric in METRICS:
            name = "accuracy" if metric == "accuracy" else f"mean_{metric}"
            level = result.number(name, scaled=f"1.{part}", dose=dose)
            assert level.value == pytest.approx(expected[metric].mean(), abs=1e-5)
            change = result.number(f"{metric}_change", scaled=f"1.{part}", dose=dose)
            of = expected[metric] - before[metric]
            assert change.value == pytest.approx(of.mean(), abs=1e-5)
            assert change.interval == pytest.approx(mean_interval(of.astype(np.float64)), abs=1e-4)


def test_the_controls_are_the_same_part_of_other_layers(language_model):
    bench = bench_of(language_model("pythia-160m"))  # of three layers
    result = ScaleComponent(parts=("last.mlp",), doses=(1.0,), num_controls=5).run(bench)
    assert result.arrays["mean"].ticks["scaled"][0] == "2.mlp"
    assert sorted(result.arrays["mean"].ticks["scaled"][1:]) == ["0.mlp", "1.mlp"]
    alone = [
        ScaleComponent(parts=(f"{layer}.mlp",), doses=(1.0,), num_controls=0)
        .run(bench)
        .value("probability_change", dose=1.0)
        for layer in (0, 1)
    ]
    control = result.number("probability_change", scaled="other layers")
    assert control.value == pytest.approx(np.mean(alone), abs=1e-7)
    assert control.interval == pytest.approx((min(alone), max(alone)), abs=1e-7)


def test_inside_the_block_outputs_differ_and_afterwards_they_are_as_before(language_model):
    bench = bench_of(language_model("llama"))
    ids = torch.from_numpy(bench.pairs.ids)
    with torch.no_grad():
        before = bench.network.model(input_ids=ids).logits
        with scaled(bench.network, [component("last.mlp", bench.network)], 0.5):
            inside = bench.network.model(input_ids=ids).logits
        after = bench.network.model(input_ids=ids).logits
    assert torch.equal(inside[:, :-1], before[:, :-1])
    assert not torch.allclose(inside[:, -1], before[:, -1], atol=1e-4)
    assert torch.equal(before, after)


def test_less_of_a_part_that_takes_the_answer_back_is_better(language_model):
    network = language_model("gpt2")
    pairs = make_prompts("induction", network.tokenizer, 10, 0)
    pairs = replace(pairs, answers=np.full(10, 7), others=np.full(10, 9))
    with torch.no_grad():
        direction = network.head.weight[7]
        network.model.transformer.h[1].mlp.c_proj.bias -= 5 * direction / direction.norm()
    result = ScaleComponent(parts=("last.mlp",)).run(bench_of(network, pairs))
    rises = [result.value("log_probability_change", scaled="1.mlp", dose=dose) for dose in (0.25, 0.5, 0.75, 1.0)]
    assert 0 < rises[0] < rises[1] < rises[2] < rises[3]
    assert result.value("log_probability_change", scaled="other layers", dose=1.0) < rises[3] / 2
    assert result.number("probability_change", scaled="1.mlp", dose=1.0).interval[0] > 0


def test_several_parts_are_scaled_at_once_and_their_controls_are_as_many(language_model):
    network = language_model("pythia-160m")
    chosen = [component(name, network) for name in ("2.0", "2.3", "2.mlp")]
    for some in elsewhere(chosen, network, 2, np.random.default_rng(0)):
        assert len({each.layer for each in some}) == 1
        assert some[0].layer != 2
        assert [each.part == "mlp" for each in some] == [False, False, True]
        assert len(set(some)) == 3
    result = ScaleComponent(parts=("2.0", "2.3", "2.mlp"), doses=(1.0,)).run(bench_of(network))
    assert result.value("accuracy", scaled="2.0 2.3 2.mlp", dose=1.0) >= 0


def test_the_last_layer_has_a_name_in_every_model(language_model):
    network = language_model("pythia-160m")
    assert component("last.mlp", network) == Component(2, "mlp") == component("2.mlp", network)
    assert component("0.3", network).name == "0.3"


@pytest.mark.parametrize("name", ["3.mlp", "last.4", "0.4"])
def test_a_part_that_is_not_there_is_refused(name, language_model):
    with pytest.raises(UserError, match="layers are 0 to 2"):
        component(name, language_model("pythia-160m"))


@pytest.mark.parametrize("parts", [("mlp",), ("1.key",), ("-1.mlp",), ()])
def test_what_is_asked_wrongly_is_refused(parts):
    with pytest.raises(ValidationError):
        ScaleComponent(parts=parts)
