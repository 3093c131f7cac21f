from __future__ import annotations

import numpy as np
import pytest

from dimscope.core.errors import UserError
from dimscope.data.batching import Encoded
from dimscope.data.sentence_pairs import sentence_pairs
from dimscope.data.task import Split

PAD = 9


def made(lengths: list[int], labels: list[int], num_pairs: int = 100, seed: int = 0):
    ids = [np.full(length, 10 + row) for row, length in enumerate(lengths)]
    split = Split(tuple(f"text {row}" for row in range(len(labels))), np.array(labels))
    encoded = Encoded(ids, None, num_truncated=0, num_empty=0)
    return sentence_pairs("planted", split, encoded, PAD, num_pairs, np.random.default_rng(seed))


def test_every_pair_has_one_length_and_two_classes():
    rng = np.random.default_rng(1)
    lengths, labels = rng.integers(2, 6, 60).tolist(), rng.integers(3, size=60).tolist()
    pairs = made(lengths, labels)
    rows = [[int(text.split()[1]) for text in texts] for texts in (pairs.texts, pairs.counterfactuals)]
    assert len(set(rows[0] + rows[1])) == 2 * len(pairs)
    for index, (one, other) in enumerate(zip(*rows, strict=True)):
        assert lengths[one] == lengths[other] == pairs.mask[index].sum() == pairs.places["end"][index] + 1
        assert labels[one] == pairs.answers[index] != labels[other] == pairs.others[index]
        real = pairs.mask[index] == 1
        assert (pairs.ids[index][real] == 10 + one).all()
        assert (pairs.counterfactual_ids[index][real] == 10 + other).all()
        assert (pairs.ids[index][~real] == PAD).all()


def test_as_many_pairs_as_there_can_be():
    # Of four of one class and two each of two others, four pairs can be made, and taking two small classes first
    # would leave sentences over.
    assert len(made([3] * 8, [0, 0, 0, 0, 1, 1, 2, 2])) == 4
    assert len(made([3] * 8, [0, 0, 0, 0, 1, 1, 2, 2], num_pairs=3)) == 3


def test_both_classes_come_as_prompts():
    answers = made([4] * 80, [0, 1] * 40).answers
    assert 10 < answers.sum() < 30


def test_the_same_random_numbers_give_the_same_pairs():
    first, again, other = (made([3] * 20, [0, 1] * 10, seed=seed) for seed in (1, 1, 2))
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize(("lengths", "labels"), [([3, 4], [0, 1]), ([3, 3], [1, 1])])
def test_where_nothing_fits_it_is_told(lengths: list[int], labels: list[int]):
    with pytest.raises(UserError, match="no two sentences of different classes"):
        made(lengths, labels)


def test_sentences_that_are_pairs_already_are_refused():
    split = Split(("a", "b"), np.array([0, 1]), pairs=("c", "d"))
    encoded = Encoded([np.array([1]), np.array([2])], None, 0, 0)
    with pytest.raises(UserError, match="are pairs already"):
        sentence_pairs("planted", split, encoded, PAD, 1, np.random.default_rng(0))
