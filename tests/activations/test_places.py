from __future__ import annotations

import numpy as np
import pytest
import torch

from dimscope.activations.places import Places, by_number
from dimscope.core.errors import UserError

MASK = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])


def test_numbers_and_columns_are_told_apart_by_the_padding():
    places = Places.of(np.array([[0, 1], [2, 0]]), MASK, "last")
    assert places.columns.tolist() == [[2, 3], [2, 0]]
    assert places.numbers.tolist() == [[0, 1], [2, 0]]
    assert places.are_real.all()


@pytest.mark.parametrize(("pooling", "columns"), [("first", [[2], [0]]), ("last", [[3], [2]])])
def test_the_pooled_token_is_the_classifiers(pooling: str, columns: list[list[int]]):
    assert Places.of("pooled", MASK, pooling).columns.tolist() == columns


def test_all_tokens_are_counted_from_the_first_real_one():
    places = Places.of("all", MASK, "first")
    assert places.numbers.tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]
    assert torch.equal(places.are_real, MASK.bool())


def test_what_is_taken_and_put_back_is_as_before():
    values = torch.arange(24.0).view(2, 4, 3)
    places = Places.of(np.array([[1], [2]]), MASK, "last")
    taken = places.take(values)
    assert torch.equal(taken, torch.stack([values[0, 3], values[1, 2]])[:, None])
    assert torch.equal(places.put(taken, values), values)
    changed = places.put(-taken, values)
    assert (changed != values).any(-1).tolist() == [[False, False, False, True], [False, False, True, False]]


def test_values_by_number_stand_where_the_sentence_does():
    given = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    laid = by_number(given, Places.of("all", MASK, "first").numbers, axis=1)[..., 0]
    assert laid[MASK.bool()].tolist() == [1.0, 2.0, 3.0, 4.0, 4.0]


@pytest.mark.parametrize("tokens", [np.array([[2], [0]]), np.array([[0], [3]]), np.array([[0]]), np.array([0, 0])])
def test_tokens_that_are_not_there_are_refused(tokens: np.ndarray):
    with pytest.raises(UserError, match="the tokens"):
        Places.of(tokens, MASK, "last")
