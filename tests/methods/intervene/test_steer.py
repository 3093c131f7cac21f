"""Steering against hooks of torch's own, and a direction that must turn every sentence if it is followed far enough."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.methods.intervene.steer import Steer
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
