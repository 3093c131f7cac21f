from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dimscope.data.prompts.catalogue import make_prompts
from dimscope.methods.measure.prompt_accuracy import PromptAccuracy, best_constant
from dimscope.models.load import load_language_model
from dimscope.numerics.resampling import mean_interval, wilson_interval

_NOT_GIVEN = dict.fromkeys(("options", "is_right", "is_right_counterfactual"), np.empty((0, 0), np.int64))


@pytest.fixture(scope="module")
def network(tiny_folder):
    return load_language_model(str(tiny_folder("gpt2")))


@pytest.fixture(scope="module")
def pairs(network):
    return make_prompts("induction", network.tokenizer, 24, 0)


def ran(network, pairs):
    return PromptAccuracy().run(SimpleNamespace(network=network, pairs=pairs))


def by_hand(network, ids):
    with torch.no_grad():
        return network.model(input_ids=torch.from_numpy(ids)).logits[:, -1].numpy()


@pytest.mark.parametrize("text", ["prompt", "counterfactual"])
def test_numbers_are_those_of_the_models_own_pass(network, pairs, text):
    result = ran(network, pairs)
    ids, right, wrong = (
        (pairs.ids, pairs.answers, pairs.others)
        if text == "prompt"
        else (pairs.counterfactual_ids, pairs.others, pairs.answers)
    )
    logits = by_hand(network, ids)
    rows = np.arange(len(pairs))
    difference = (logits[rows, right] - logits[rows, wrong]).astype(np.float64)
    number = result.number("mean_logit_difference", text=text)
    assert number.value == pytest.approx(difference.mean(), abs=1e-5)
    assert number.interval == pytest.approx(mean_interval(difference), abs=1e-5)
    chosen = pairs.options[rows, np.take_along_axis(logits, pairs.options, axis=1).argmax(axis=1)]
    for among, is_right in (("outputs", logits.argmax(axis=1) == right), ("options", chosen == right)):
        number = result.number("accuracy", text=text, among=among)
        assert number.value == is_right.mean()
        assert number.interval == wilson_interval(int(is_right.sum()), len(pairs))
        row = [list(result.arrays["is_right"].ticks[axis]) for axis in ("text", "among")]
        stored = result.arrays["is_right"].values[row[0].index(text), row[1].index(among)]
        np.testing.assert_array_equal(stored, is_right)


def test_a_model_that_does_its_job_has_all_right(network, pairs):
    logits = by_hand(network, pairs.ids)
    told = replace(
        pairs, answers=logits.argmax(axis=1), others=logits.argmin(axis=1), counterfactual_ids=pairs.ids, **_NOT_GIVEN
    )
    result = ran(network, told)
    for among in ("outputs", "options"):
        assert result.value("accuracy", text="prompt", among=among) == 1
        assert result.value("accuracy", text="counterfactual", among=among) == 0
    assert result.value("mean_logit_difference", text="prompt") > 0
    assert result.value("mean_logit_difference", text="counterfactual") == pytest.approx(
        -result.value("mean_logit_difference", text="prompt"), abs=1e-5
    )


def test_chance_is_the_share_of_right_options(network, pairs):
    result = ran(network, pairs)
    assert result.value("chance_accuracy", text="prompt", among="options") == pytest.approx(1 / 12)
    outputs = result.value("chance_accuracy", text="prompt", among="outputs")
    assert outputs == pytest.approx(1 / network.model.config.vocab_size)
    years = make_prompts("greater_than", network.tokenizer, 24, 0)
    of_years = ran(network, years).value("chance_accuracy", text="prompt", among="options")
    later = [sum(int(digit) > int(text[text.index("year") + 7]) for digit in "0123456789") for text in years.texts]
    assert of_years == pytest.approx(np.mean(later) / 10)


def test_a_constant_answer_that_is_always_right_is_told(network):
    years = make_prompts("greater_than", network.tokenizer, 24, 0)
    assert ran(network, years).value("constant_accuracy", text="prompt") == 1, "9 is later than all that is asked for"
    three = years.at(np.arange(3))
    once = replace(three, answers=np.array([1, 2, 3]), others=np.array([4, 5, 6]), **_NOT_GIVEN)
    assert best_constant(once) == pytest.approx(1 / 3)


def test_where_nothing_is_right_there_is_no_accuracy(network, pairs):
    result = ran(network, replace(pairs, is_right_counterfactual=np.zeros_like(pairs.is_right)))
    assert {number.where["text"] for number in result.numbers if "accuracy" in number.name} == {"prompt"}
    assert {number.where["text"] for number in result.numbers if "logit" in number.name} == {"prompt", "counterfactual"}
    assert "no option is right" in result.notes[-1]


def test_what_the_tokenizer_left_is_told(network, pairs):
    assert list(ran(network, replace(pairs, notes=("3 of 4 names",))).notes) == ["3 of 4 names"]
