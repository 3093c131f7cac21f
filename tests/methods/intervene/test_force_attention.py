"""The oracle: a head that looks at two tokens gives the mean of their values, put into its place by plain hooks."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from dimscope.activations.edits import Edit, Rows, edit
from dimscope.activations.forcing import forced
from dimscope.activations.patterns import attention_patterns
from dimscope.core.errors import UnknownName, UserError
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.methods.intervene.force_attention import ForceAttention
from dimscope.models.classify import classify
from dimscope.models.load import load_language_model

HEADS = ((1, 2), (1, 0))
NAMED = {"heads": ("1.2", "1.0"), "toward": ("earlier", "other")}


@pytest.fixture(scope="module")
def bench(tiny_folder):
    """Prompts of several lengths, so that the forced token stands elsewhere in each."""
    network = load_language_model(str(tiny_folder("gpt2")))
    pairs = make_prompts("induction", network.tokenizer, 12, 0)
    ends = pairs.places["end"] - np.arange(12) % 4
    mask = (np.arange(pairs.ids.shape[1]) <= ends[:, None]).astype(np.int64)
    return SimpleNamespace(
        network=network, pairs=replace(pairs, mask=mask, places={**pairs.places, "end": ends}), seed=1
    )


def batch_of(pairs):
    return {"input_ids": torch.from_numpy(pairs.ids), "attention_mask": torch.from_numpy(pairs.mask)}


@torch.inference_mode()
def logits(bench, *values):
    """The logits at the end, with the heads' outputs there replaced by hooks that know nothing of patterns."""
    attention = bench.network.model.transformer.h[1].attn
    size, pairs = bench.network.head_dim, bench.pairs
    rows, seen = np.arange(len(pairs)), {}

    def keep(module, args, output):
        seen["values"] = output.split(output.shape[-1] // 3, dim=-1)[2]

    def change(module, args):
        new = args[0].clone()
        for _, head in values:
            dims = slice(head * size, (head + 1) * size)
            places = [pairs.places[name] for name in NAMED["toward"]]
            new[rows, pairs.places["end"], dims] = sum(seen["values"][rows, each, dims] for each in places) / 2
        return (new, *args[1:])

    handles = [attention.c_attn.register_forward_hook(keep), attention.c_proj.register_forward_pre_hook(change)]
    found = bench.network.model(**batch_of(pairs)).logits[rows, pairs.places["end"]]
    for handle in handles:
        handle.remove()
    return found.numpy()


@torch.inference_mode()
def test_forced_heads_give_the_mean_value_of_the_tokens_they_look_at(bench):
    with forced(bench.network, bench.pairs, HEADS, NAMED["toward"]):
        inside = classify(bench.network, batch_of(bench.pairs)).numpy()
    np.testing.assert_allclose(inside, logits(bench, *HEADS), atol=1e-5)
    assert np.abs(inside - logits(bench)).max() > 1e-3


def test_the_numbers_are_those_of_the_oracles_logits(bench):
    found = ForceAttention(**NAMED, num_draws=2).run(bench)
    rows, pairs = np.arange(len(bench.pairs)), bench.pairs
    was, is_now = logits(bench), logits(bench, *HEADS)
    for what, read in (("nothing", was), ("chosen heads", is_now)):
        difference = read[rows, pairs.answers] - read[rows, pairs.others]
        assert found.value("mean_logit_difference", forced=what) == pytest.approx(difference.mean(), abs=1e-5)
        of_options = read[rows[:, None], pairs.options].argmax(axis=1)
        right = pairs.is_right[rows, of_options]
        assert found.value("accuracy", forced=what, among="options") == pytest.approx(right.mean())
        right = read.argmax(axis=1) == pairs.answers
        assert found.value("accuracy", forced=what, among="outputs") == pytest.approx(right.mean())
    where = {"forced": "chosen heads", "among": "options"}
    change = found.value("accuracy_change", **where)
    assert change == pytest.approx(
        found.value("accuracy", **where) - found.value("accuracy", **where | {"forced": "nothing"})
    )
    assert change == pytest.approx(
        found.value("newly_right_fraction", **where) - found.value("newly_wrong_fraction", **where)
    )


def test_the_control_is_the_mean_over_draws_of_other_heads(bench):
    found = ForceAttention(**NAMED, num_draws=3).run(bench)
    right = found.arrays["is_right"]
    assert list(right.ticks["forced"]) == ["nothing", "chosen heads", *(f"random heads {each}" for each in (1, 2, 3))]
    control = found.number("accuracy", forced="random heads", among="options")
    of_draws = right.values[2:, 1].mean(axis=1)
    assert control.value == pytest.approx(of_draws.mean())
    assert control.interval == pytest.approx(tuple(np.quantile(of_draws, [0.025, 0.975])))
    assert (
        "more than half" in ForceAttention(**NAMED | {"heads": ("1.0", "1.1", "1.2")}, num_draws=1).run(bench).notes[-1]
    )


@torch.inference_mode()
def test_only_what_comes_after_the_forced_row_changes(tiny_folder, raw_heads):
    """Heads below, heads beside, and tokens before keep every value; those above see the change."""
    network = load_language_model(str(tiny_folder("llama")))
    pairs = make_prompts("induction", network.tokenizer, 4, 0)
    layer, size, end = 0, network.head_dim, int(pairs.places["end"][0])
    same = attention_patterns(network, batch_of(pairs), [layer])[layer].numpy()
    # Against the same kernel, so that what is equal is so bit for bit.
    with edit(network, [Edit(f"layers.{layer}.attn.pattern", Rows(same))]):
        before = raw_heads(network, pairs)
    with forced(network, pairs, [(layer, 1)], ("answer",)):
        after = raw_heads(network, pairs)
    for of in range(network.num_layers):
        assert torch.equal(before[of][:, :end], after[of][:, :end])
    differs = (before[layer][:, end] != after[layer][:, end]).unflatten(-1, (-1, size)).any(-1).any(0)
    assert differs.tolist() == [False, True, False, False]
    assert (before[1][:, end] != after[1][:, end]).any()
    untouched = raw_heads(network, pairs)
    with forced(network, pairs, [(1, 3)], ("answer",)):
        below = raw_heads(network, pairs)[0]
    assert torch.equal(below, untouched[0])


@pytest.fixture
def raw_heads():
    """Read what the heads of every layer give, by hooks on the output projections."""

    def read(network, pairs):
        seen = []
        projections = [block.self_attn.o_proj for block in network.model.model.layers]
        handles = [each.register_forward_pre_hook(lambda module, args: seen.append(args[0])) for each in projections]
        network.model(**batch_of(pairs))
        for handle in handles:
            handle.remove()
        return seen

    return read


def test_watched_heads_are_told_as_transformers_own_patterns(bench):
    found = ForceAttention(**NAMED, watched=("1.0", "1.3"), num_draws=1).run(bench)
    own = attention_patterns(bench.network, batch_of(bench.pairs), [1])[1]
    rows, places = np.arange(len(bench.pairs)), bench.pairs.places
    at_end = own[rows, :, places["end"]].numpy()
    for place in ("earlier", "answer", "other"):
        expected = at_end[rows, :, places[place]][:, [0, 3]].mean()
        assert found.value("watched_attention", forced="nothing", place=place) == pytest.approx(expected, abs=1e-6)
    # Head 1.0 is forced itself, and no head of its own layer sees that.
    looked = found.arrays["attention"]
    np.testing.assert_array_equal(looked.values[1, 0].T, [[0.5, 0, 0.5]] * len(rows))
    np.testing.assert_allclose(looked.values[1, 1], looked.values[0, 1], atol=1e-6)


def test_what_is_asked_wrongly_is_refused(bench):
    with pytest.raises(UserError, match="wanted heads to force"):
        ForceAttention().run(bench)
    with pytest.raises(ValidationError, match="wanted different heads"):
        ForceAttention(heads=("1",))
    with pytest.raises(ValidationError, match="wanted different heads"):
        ForceAttention(heads=("1.1", "1.1"))
    with pytest.raises(UserError, match="heads 0 to 3"):
        ForceAttention(**NAMED | {"heads": ("1.4",)}).run(bench)
    with pytest.raises(UnknownName, match="other_color"):
        ForceAttention(heads=("1.1",)).run(bench)
    with pytest.raises(UserError, match="comes before 'end'"):
        ForceAttention(heads=("1.1",), toward=("end",), token="answer").run(bench)
