from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dimscope.core.errors import UserError
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.load import Network
from dimscope.numerics.resampling import wilson_interval
from dimscope.scoring.known import answer, known, right_among_options, right_among_outputs


@pytest.fixture
def drawn():
    """30 rows of logits over 9 outputs, 4 options each, some of them right."""
    rng = np.random.default_rng(1)
    options = np.array([rng.choice(9, size=4, replace=False) for _ in range(30)])
    return rng.normal(size=(30, 9)).astype(np.float32), options, rng.random((30, 4)) < 0.4


def test_right_is_what_brute_force_finds(drawn):
    logits, options, is_right = drawn
    of_outputs, of_options = [], []
    for row, offered, right in zip(logits, options.tolist(), is_right, strict=True):
        allowed = [option for option, each in zip(offered, right, strict=True) if each]
        of_outputs.append(int(row.argmax()) in allowed)
        of_options.append(max(offered, key=lambda option: row[option]) in allowed)
    assert right_among_outputs(torch.from_numpy(logits), options, is_right).tolist() == of_outputs
    assert right_among_options(torch.from_numpy(logits), options, is_right).tolist() == of_options
    assert 0 < sum(of_outputs) < sum(of_options) < 30


def test_a_tie_with_a_wrong_output_is_not_right_and_one_among_right_ones_is():
    logits = torch.tensor([[2.0, 2.0, 0.0, 1.0]])
    for options, right, among_options, among_outputs in [
        ([0, 1], [True, False], False, False),
        ([0, 1], [True, True], True, True),
        ([0, 2], [True, False], True, False),
        ([0, 1], [False, False], False, False),
    ]:
        asked = logits, np.array([options]), np.array([right])
        assert right_among_options(*asked).item() == among_options
        assert right_among_outputs(*asked).item() == among_outputs


@pytest.fixture
def network(tiny_network) -> Network:
    return tiny_network("gpt2")


@pytest.fixture
def pairs(network) -> PromptPairs:
    """Twelve prompts of 3 to 8 tokens; the outputs are the three classes of a tiny decoder."""
    rng = np.random.default_rng(2)
    lengths = rng.integers(3, 9, size=12)
    mask = (np.arange(8) < lengths[:, None]).astype(np.int64)
    ids = np.where(mask == 1, rng.integers(5, 300, size=(12, 8)), network.pad_id)
    changed = ids.copy()
    changed[:, 1] = rng.integers(5, 300, size=12)
    answers = rng.integers(3, size=12)
    texts = tuple(map(str, range(12)))
    ends = {"end": lengths - 1}
    return PromptPairs("p", texts, texts, ids, changed, mask, answers, (answers + 1) % 3, ends)


def by_hand(network: Network, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The logits of one prompt after another, without any padding."""
    with torch.no_grad():
        rows = [torch.from_numpy(row[: real.sum()])[None] for row, real in zip(ids, mask, strict=True)]
        return np.stack([network.model(input_ids=row).logits[0].numpy() for row in rows])


@pytest.mark.parametrize("swapped", [False, True])
def test_answers_are_those_of_single_prompts(network, pairs, swapped):
    asked = pairs.swapped() if swapped else pairs
    logits = by_hand(network, asked.ids, asked.mask)
    answered = answer(network, asked)
    rows = np.arange(12)
    difference = logits[rows, asked.answers] - logits[rows, asked.others]
    np.testing.assert_allclose(answered.logit_difference, difference, atol=1e-5)
    np.testing.assert_array_equal(answered.among_outputs, logits.argmax(axis=1) == asked.answers)
    np.testing.assert_array_equal(answered.among_options, difference > 0)
    assert 0 < answered.among_outputs.sum() < 12


@pytest.mark.parametrize("among", ["outputs", "options"])
def test_what_is_known_is_kept_and_its_share_told(network, pairs, among):
    is_right = answer(network, pairs).is_right(among)
    kept, share = known(network, pairs, among)
    assert kept.texts == tuple(np.array(pairs.texts)[is_right])
    np.testing.assert_array_equal(kept.answers, pairs.answers[is_right])
    assert answer(network, kept).is_right(among).all()
    assert share.name == "known_fraction"
    assert share.value == is_right.mean()
    assert share.interval == wilson_interval(int(is_right.sum()), 12)
    assert share.where == {"among": among}


def test_a_model_that_knows_nothing_is_told(network, pairs):
    logits = by_hand(network, pairs.ids, pairs.mask)
    none = np.empty((0, 0), np.int64)
    given = {"options": none, "is_right": none, "is_right_counterfactual": none}
    lowest = replace(pairs, answers=logits.argmin(axis=1), others=logits.argmax(axis=1), **given)
    with pytest.raises(UserError, match="has none of 12 prompts of 'p' right among the outputs"):
        known(network, lowest)
