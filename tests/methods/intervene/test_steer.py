"""Steering against hooks of torch's own, against closed forms, and far enough for every sentence or prompt to turn."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.seeds import stream
from dimscope.methods.intervene.steer import Steer, steered
from dimscope.numerics.directions import random_directions
from dimscope.numerics.resampling import mean_interval
from dimscope.report.runs import runs_page
from dimscope.running import run


@pytest.fixture(scope="module")
def tuned(tiny_folder, reviews, tmp_path_factory):
    bench = Bench(str(tiny_folder("bert")), reviews, out=tmp_path_factory.mktemp("steer"))
    settings = {"epochs": 10, "learning_rate": 2e-3, "batch_size": 8, "precision": "float32"}
    return bench.finetuned(run("finetune/full", bench, **settings).checkpoint)


def by_hooks(bench, vector, layer, first_only=False):
    """The classes with a vector added to what a block gives, one sentence at a time."""
    model = bench.load().model

    def add(module, args, output):
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[:, slice(1) if first_only else slice(None)] += torch.from_numpy(vector).float()
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    model.bert.encoder.layer[layer].register_forward_hook(add)
    with torch.no_grad():
        return np.array(
            [
                model(**bench.network.tokenizer(text, return_tensors="pt")).logits.argmax().item()
                for text in bench.task.validation.texts
            ]
        )


@pytest.mark.parametrize("tokens", ["all", "pooled"])
@pytest.mark.parametrize(("site", "layer"), [("final", 1), ("layers.0.out", 0)])
def test_each_dose_gives_what_plain_hooks_give(tuned, tokens, site, layer):
    result = Steer(doses=(-1.5, 0.5), site=site, tokens=tokens, num_random=1).run(tuned)
    unit = result.arrays["vector"].values
    states, labels = tuned.states("train", site).astype(np.float64), tuned.labels("train")
    expected = states[labels == 1].mean(0) - states[labels == 0].mean(0)
    np.testing.assert_allclose(unit, expected / np.linalg.norm(expected), atol=1e-6)
    for dose in (-1.5, 0.5):
        classes = by_hooks(tuned, dose * np.std(states @ unit) * unit, layer, first_only=tokens == "pooled")
        assert result.value("toward_fraction", direction="means", dose=dose) == pytest.approx((classes == 1).mean())
        turned = (classes != tuned.logits("validation").argmax(1)).mean()
        assert result.value("turned_fraction", direction="means", dose=dose) == pytest.approx(turned)


def test_far_enough_along_the_difference_of_means_every_sentence_goes_there(tuned):
    result = Steer(doses=(-20, 0, 20), num_random=2).run(tuned)
    shares = {dose: result.value("toward_fraction", direction="means", dose=dose) for dose in (-20, 0, 20)}
    assert shares[20] == 1
    assert shares[-20] == 0
    assert result.value("turned_fraction", direction="means", dose=0) == 0
    assert result.value("turned_fraction", direction="random", dose=0) == 0
    assert result.value("toward_fraction", direction="random", dose=0) == shares[0]


def test_the_dimension_that_varies_most_is_one_dimension(tuned):
    vector = Steer(direction="principal", doses=(0,), num_random=1).run(tuned).arrays["vector"].values
    assert vector.argmax() == tuned.states("train").var(axis=0).argmax()
    assert np.count_nonzero(vector) == 1


def test_what_cannot_be_steered_is_refused(tuned):
    with pytest.raises(UserError, match="no checkpoint"):
        Steer().run(tuned.pretrained)
    with pytest.raises(UserError, match="classes are 0 to 1"):
        Steer(toward=2).run(tuned)


BLOCKS = {"llama": "model.layers", "gpt2": "transformer.h", "pythia-70m": "gpt_neox.layers"}
DOSES = (-1.5, 0.0, 2.0)


@pytest.fixture(scope="module", params=BLOCKS)
def prompted(request, language_model, prompts):
    """A language model and 16 pairs of prompts, every other one of them three tokens shorter."""
    network = language_model(request.param)
    whole = prompts(network, 16)
    mask = whole.mask.copy()
    mask[::2, -3:] = 0
    ids = {name: np.where(mask, getattr(whole, name), network.pad_id) for name in ("ids", "counterfactual_ids")}
    pairs = replace(whole, mask=mask, places={"end": mask.sum(axis=1) - 1}, **ids)
    return SimpleNamespace(network=network, pairs=pairs, seed=3, is_language_model=True, family=request.param)


def texts(pairs):
    """The tokens of every prompt alone, and those of its counterfactual."""
    lengths = pairs.mask.sum(axis=1)
    return [
        [torch.from_numpy(row[:length]) for row, length in zip(ids, lengths, strict=True)]
        for ids in (pairs.ids, pairs.counterfactual_ids)
    ]


def last_logits(model, prompts):
    with torch.no_grad():
        return torch.cat([model(input_ids=prompt[None]).logits[:, -1] for prompt in prompts])


def difference(logits, pairs):
    rows = np.arange(len(pairs))
    return (logits[rows, pairs.answers] - logits[rows, pairs.others]).numpy()


def block_hooked(bench, layer, prompts, change):
    """The logits with a change made to what a block gives, by a plain hook."""

    def hook(module, args, output):
        hidden = change((output[0] if isinstance(output, tuple) else output).clone())
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    handle = bench.network.model.get_submodule(BLOCKS[bench.family])[layer].register_forward_hook(hook)
    try:
        return last_logits(bench.network.model, prompts)
    finally:
        handle.remove()


@pytest.mark.parametrize("tokens", ["auto", "all"])
def test_prompts_get_at_each_dose_what_plain_hooks_give_them(prompted, tokens):
    result = Steer(doses=DOSES, site="layers.0.out", tokens=tokens, num_random=2).run(prompted)
    seen = [[], []]
    for kept, prompts in zip(seen, texts(prompted.pairs.at(np.arange(8))), strict=True):
        block_hooked(
            prompted, 0, prompts, lambda hidden, kept=kept: kept.append(hidden[0, -1].double().numpy()) or hidden
        )
    direction = np.mean(seen[1], axis=0) - np.mean(seen[0], axis=0)
    unit = direction / np.linalg.norm(direction)
    np.testing.assert_allclose(result.arrays["vector"].values, unit, atol=1e-6)
    length = np.concatenate(seen @ unit).std()
    held_out = prompted.pairs.at(np.arange(8, 16))
    before = difference(last_logits(prompted.network.model, texts(held_out)[0]), held_out)
    randoms = random_directions(2, 32, stream(3, "random directions"))
    for number, vector in enumerate((unit, *randoms)):
        for at, dose in enumerate(DOSES):

            def add(hidden, step=dose * length * vector):
                hidden[:, slice(None) if tokens == "all" else slice(-1, None)] += torch.from_numpy(step).float()
                return hidden

            logits = block_hooked(prompted, 0, texts(held_out)[0], add)
            after = difference(logits, held_out)
            curve = result.arrays["mean_logit_difference"].values[number, at]
            assert curve == pytest.approx(after.mean(), abs=1e-4)
            assert result.arrays["toward_fraction"].values[number, at] == (after < 0).mean()
            if vector is unit:
                where = {"direction": "means", "dose": dose}
                assert result.number("mean_logit_difference", **where).interval == pytest.approx(
                    mean_interval(after.astype(np.float64)), abs=1e-4
                )
                assert result.value("turned_fraction", **where) == ((after < 0) != (before < 0)).mean()
                right = logits.argmax(1).numpy() == held_out.answers
                assert result.value("accuracy", **where) == right.mean()
    control = result.number("mean_logit_difference", direction="random", dose=2.0)
    assert control.interval == (
        result.arrays["mean_logit_difference"].values[1:, 2].min(),
        result.arrays["mean_logit_difference"].values[1:, 2].max(),
    )


def test_behind_the_last_norm_a_dose_moves_the_logit_difference_by_the_heads_rows(prompted):
    result = Steer(doses=DOSES, num_random=1).run(prompted)
    network, held_out = prompted.network, prompted.pairs.at(np.arange(8, 16))
    prompts, counterfactuals = texts(prompted.pairs.at(np.arange(8)))
    with torch.no_grad():
        final = [
            network.model.base_model(prompt[None]).last_hidden_state[0, -1].double().numpy()
            for prompt in (*prompts, *counterfactuals)
        ]
    unit = result.arrays["vector"].values
    length = (final @ unit).std()
    rows = network.model.get_output_embeddings().weight.detach().double().numpy()
    slope = ((rows[held_out.answers] - rows[held_out.others]) @ unit).mean() * length
    before = difference(last_logits(network.model, texts(held_out)[0]), held_out).mean()
    for dose in DOSES:
        value = result.value("mean_logit_difference", direction="means", dose=dose)
        assert value == pytest.approx(before + dose * slope, abs=1e-4)


def test_two_deviations_at_the_embedding_make_every_prompt_its_counterfactual(prompted):
    """Prompts end with one token and counterfactuals with another: their embeddings lie two deviations apart."""
    pairs = prompted.pairs.at(np.arange(1, 16, 2))  # those of one length, so that positions are the same
    ids, others = pairs.ids.copy(), pairs.ids.copy()
    ids[:, -1], others[:, -1] = 8, 12
    pairs = replace(pairs, ids=ids, counterfactual_ids=others)
    logits = [last_logits(prompted.network.model, each) for each in texts(pairs)]
    ours, theirs = (each.argmax(1).numpy() for each in logits)
    chosen = {name: np.empty((0, 0), bool) for name in ("options", "is_right", "is_right_counterfactual")}
    differ = np.flatnonzero(ours != theirs)
    pairs = replace(pairs, answers=ours, others=theirs, **chosen).at(differ)
    result = Steer(doses=(0, 2), site="embed", num_random=20).run(SimpleNamespace(**{**vars(prompted), "pairs": pairs}))
    assert result.value("held_out_distance") == pytest.approx(2, abs=1e-5)
    expected = difference(logits[1][differ], pairs)[-(len(pairs) // 2) :].mean()
    assert result.value("mean_logit_difference", direction="means", dose=2) == pytest.approx(expected, abs=1e-4)
    told = {
        name: [result.value(name, direction="means", dose=dose) for dose in (0, 2)]
        for name in ("toward_fraction", "turned_fraction", "accuracy")
    }
    assert told == {"toward_fraction": [0, 1], "turned_fraction": [0, 1], "accuracy": [1, 0]}
    assert result.value("toward_fraction", direction="random", dose=2) < 0.5
    assert not any("is chance" in note for note in result.notes)


def test_within_the_block_prompts_are_steered_and_afterwards_nothing_is_left(prompted):
    network, (prompts, _) = prompted.network, texts(prompted.pairs)
    before = last_logits(network.model, prompts)
    with steered(network, np.ones(32), "layers.1.out", "pooled"):
        assert not torch.equal(last_logits(network.model, prompts), before)
    assert torch.equal(last_logits(network.model, prompts), before)
    Steer(doses=(1,), num_random=1).run(prompted)
    assert torch.equal(last_logits(network.model, prompts), before)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.model.modules())


def test_groups_that_differ_in_nothing_common_are_told(prompted):
    halves = np.tile(np.arange(8), 2)  # each pair of the second half is one of the first half turned round
    pairs, turned = prompted.pairs.at(halves[:8]), prompted.pairs.at(halves[8:]).swapped()
    ids = {
        name: np.concatenate([getattr(pairs, name), getattr(turned, name)]) for name in ("ids", "counterfactual_ids")
    }
    both = replace(prompted.pairs, **ids)
    result = Steer(doses=(0,), num_random=1, site="layers.1.out").run(
        SimpleNamespace(**{**vars(prompted), "pairs": both})
    )
    assert result.value("held_out_distance") < 0
    assert any("is chance" in note for note in result.notes)


def test_what_prompts_cannot_be_steered_by_is_refused(prompted):
    for settings in ({"direction": "principal"}, {"toward": 0}):
        with pytest.raises(UserError, match="leave direction and toward out"):
            Steer(**settings).run(prompted)
    with pytest.raises(UserError, match="not what is steered"):
        Steer(site="logits").run(prompted)
    with pytest.raises(UserError, match="the two groups are the same"):
        Steer(site="embed").run(prompted)  # prompts end with their counterfactuals' token
    with pytest.raises(UserError, match="at least 4 pairs"):
        Steer().run(SimpleNamespace(**{**vars(prompted), "pairs": prompted.pairs.at(np.arange(3))}))


def test_a_bench_of_prompts_is_steered_and_drawn(tiny_folder, tmp_path):
    bench = Bench(str(tiny_folder("llama")), "prompts/induction", limit=8, out=tmp_path)
    result = run("intervene/steer", bench, doses=(-1, 0, 1), num_random=2)
    assert result.settings["tokens"] == "pooled"
    charts = {figure.name.split("steer-")[1]: figure.chart for figure in runs_page([result]).sections[0].figures}
    assert charts.keys() == {"mean_logit_difference", "toward_fraction", "accuracy"}
    drawn = charts["mean_logit_difference"].data
    assert drawn["group"].unique().tolist() == ["means", "random 1", "random 2"]
    assert drawn["value"].tolist() == result.arrays["mean_logit_difference"].values.ravel().tolist()
