"""Rows of a padded batch against plain loops over its tokens."""

from __future__ import annotations

import pytest
import torch

from dimscope.models.pooling import pool, pooled_token
from dimscope.models.sentences import Sentences

MASK = torch.tensor([[0, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]])
VALUES = torch.arange(3 * 4 * 2.0).view(3, 4, 2)


@pytest.mark.parametrize(("step", "num_rows"), [(1, 6), (4, 8), (6, 6)])
def test_rows_are_the_tokens_in_their_order_and_come_back_to_their_places(step, num_rows):
    sentences = Sentences(MASK, step)
    rows = sentences.rows(VALUES)
    tokens = [VALUES[i, j] for i in range(3) for j in range(4) if MASK[i, j]]
    assert len(rows) == num_rows
    assert torch.equal(rows[:6], torch.stack(tokens))
    assert torch.equal(rows[6:], tokens[-1].expand(num_rows - 6, 2))
    assert torch.equal(sentences.padded(rows), VALUES * MASK.unsqueeze(-1))
    assert sentences.starts.tolist() == [0, 3, 4, 6]


def test_without_padding_nothing_is_copied():
    sentences = Sentences(torch.ones(3, 4, dtype=torch.int64), step=6)
    rows = sentences.rows(VALUES)
    assert sentences.is_full
    assert rows.data_ptr() == VALUES.data_ptr()
    assert sentences.padded(rows).data_ptr() == VALUES.data_ptr()
    assert not Sentences(torch.ones(3, 4, dtype=torch.int64), step=5).is_full


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_what_is_pooled_is_that_of_the_padded_batch(pooling):
    sentences = Sentences(MASK, step=4)
    expected = pool(VALUES, MASK, pooling)
    torch.testing.assert_close(sentences.pooled(sentences.rows(VALUES), pooling), expected)


def test_the_row_of_a_token():
    sentences = Sentences(MASK)
    assert sentences.row_of(torch.tensor([2, 0, 1])).tolist() == [1, 3, 5]
    assert sentences.row_of(pooled_token(MASK, "last")).tolist() == [2, 3, 5]


def test_gradients_go_to_tokens_alone():
    values = VALUES.clone().requires_grad_()
    sentences = Sentences(MASK)
    sentences.padded(3 * sentences.rows(values)).sum().backward()
    assert torch.equal(values.grad, 3.0 * MASK.unsqueeze(-1).expand_as(VALUES))
