from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dimscope.data.prompts.pairs import PromptPairs


@pytest.fixture
def pairs() -> PromptPairs:
    ids = np.array([[5, 6, 7], [5, 8, 9], [4, 6, 0]])
    return PromptPairs(
        name="three",
        texts=("a", "b", "c"),
        counterfactuals=("d", "e", "f"),
        ids=ids,
        counterfactual_ids=np.array([[5, 1, 7], [5, 8, 2], [3, 6, 0]]),
        mask=np.array([[1, 1, 1], [1, 1, 1], [1, 1, 0]]),
        answers=np.array([10, 11, 12]),
        others=np.array([20, 21, 22]),
        places={"end": np.array([2, 2, 1])},
    )


def test_the_first_difference(pairs):
    assert pairs.first_difference.tolist() == [1, 2, 0]


def test_without_options_the_answer_is_told_from_the_other(pairs):
    assert pairs.options.tolist() == [[10, 20], [11, 21], [12, 22]]
    assert pairs.is_right.tolist() == [[True, False]] * 3
    assert pairs.is_right_counterfactual.tolist() == [[False, True]] * 3


def test_pairs_are_chosen_with_all_that_belongs_to_them(pairs):
    chosen = pairs.at(np.array([2, 0]))
    assert len(chosen) == 2
    assert (chosen.texts, chosen.counterfactuals) == (("c", "a"), ("f", "d"))
    assert chosen.ids.tolist() == [[4, 6, 0], [5, 6, 7]]
    assert chosen.counterfactual_ids.tolist() == [[3, 6, 0], [5, 1, 7]]
    assert chosen.mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert (chosen.answers.tolist(), chosen.others.tolist()) == ([12, 10], [22, 20])
    assert chosen.places["end"].tolist() == [1, 2]
    assert chosen.options.tolist() == [[12, 22], [10, 20]]


def test_swapping_twice_changes_nothing(pairs):
    swapped = pairs.swapped()
    assert swapped.texts == pairs.counterfactuals
    assert swapped.ids is pairs.counterfactual_ids
    assert swapped.answers is pairs.others
    assert swapped.is_right.tolist() == [[False, True]] * 3
    assert swapped.digest != pairs.digest == swapped.swapped().digest


@pytest.mark.parametrize("field", ["ids", "counterfactual_ids", "mask", "answers", "others", "options"])
def test_the_digest_changes_with_every_array_and_with_no_text(pairs, field):
    assert replace(pairs, **{field: getattr(pairs, field) + 1}).digest != pairs.digest
    assert replace(pairs, places={"end": np.array([1, 2, 1])}).digest != pairs.digest
    assert replace(pairs, texts=("x", "y", "z"), name="other").digest == pairs.digest
