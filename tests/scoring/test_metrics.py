from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import rankdata

from dimscope.core.errors import UnknownName
from dimscope.scoring.metrics import METRICS, accuracy, find_metric, rank

PAIRS = 40


@pytest.fixture
def drawn():
    """Logits of 40 pairs over 7 outputs, with an answer and another output each."""
    rng = np.random.default_rng(0)
    answers, others = np.array([rng.choice(7, size=2, replace=False) for _ in range(PAIRS)]).T
    return rng.normal(size=(PAIRS, 7)), answers, others


ORACLES = {
    "logit_difference": lambda logits, answer, other: logits[answer] - logits[other],
    "probability": lambda logits, answer, _: softmax(logits)[answer],
    "log_probability": lambda logits, answer, _: log_softmax(logits)[answer],
    "rank": lambda logits, answer, _: rankdata(-logits)[answer],
    "accuracy": lambda logits, answer, _: float(logits.argmax() == answer),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("form", [np.asarray, torch.as_tensor])
def test_metrics_are_what_another_library_says(name, form, drawn):
    logits, answers, others = drawn
    measured = METRICS[name](torch.from_numpy(logits), form(answers), form(others))
    assert measured.shape == (PAIRS,)
    expected = [ORACLES[name](*each) for each in zip(logits, answers, others, strict=True)]
    np.testing.assert_allclose(measured, expected, atol=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_only_the_logit_difference_looks_at_the_other(name, drawn):
    logits, answers, others = drawn
    elsewhere = (answers + 1 + (others == (answers + 1) % 7)) % 7
    assert (elsewhere != answers).all()
    assert (elsewhere != others).all()
    first, second = (METRICS[name](torch.from_numpy(logits), answers, each) for each in (others, elsewhere))
    assert torch.equal(first, second) == (name != "logit_difference")


@pytest.mark.parametrize("name", [name for name in METRICS if name != "logit_difference"])
def test_a_constant_added_to_all_logits_changes_nothing(name, drawn):
    logits, answers, others = drawn
    shifted = METRICS[name](torch.from_numpy(logits + 3), answers, others)
    np.testing.assert_allclose(shifted, METRICS[name](torch.from_numpy(logits), answers, others), atol=1e-12)


def test_a_shared_first_place_is_no_first_place():
    logits = torch.tensor([[2.0, 2.0, 1.0], [2.0, 1.0, 1.0]])
    assert rank(logits, np.array([0, 0]), np.array([2, 2])).tolist() == [2, 1]
    assert accuracy(logits, np.array([0, 0]), np.array([2, 2])).tolist() == [0, 1]


def test_the_gradient_of_the_logarithm_is_that_of_the_cross_entropy(drawn):
    logits, answers, others = drawn
    values = torch.from_numpy(logits).requires_grad_()
    METRICS["log_probability"](values, answers, others).sum().backward()
    np.testing.assert_allclose(values.grad, np.eye(7)[answers] - softmax(logits, axis=1), atol=1e-12)


def test_outputs_far_above_lose_no_precision():
    logits = torch.tensor([[500.0, 0.0]])
    assert METRICS["log_probability"](logits, np.array([1]), np.array([0])).item() == -500


def test_a_metric_is_found_by_its_name():
    assert find_metric("rank") is rank
    with pytest.raises(UnknownName, match="Did you mean 'logit_difference'"):
        find_metric("logit_diference")
