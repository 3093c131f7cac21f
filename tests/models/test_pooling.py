from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dimscope.core.errors import UnknownName
from dimscope.models.pooling import pool, pooled_token, position_ids

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=4)
SIDES = st.sampled_from(["left", "right"])


def padded_mask(lengths: list[int], side: str) -> torch.Tensor:
    longest = max(lengths) + 1
    rows = [[1] * length + [0] * (longest - length) for length in lengths]
    return torch.tensor([row if side == "right" else row[::-1] for row in rows])


@given(LENGTHS, SIDES)
def test_pooling_equals_picking_the_real_tokens_by_hand(lengths: list[int], side: str):
    mask = padded_mask(lengths, side)
    hidden = torch.arange(mask.numel() * 2.0).reshape(*mask.shape, 2)
    hidden[mask == 0] = torch.nan
    for row in range(len(lengths)):
        real = [hidden[row, token] for token in range(mask.shape[1]) if mask[row, token]]
        assert torch.equal(pool(hidden, mask, "first")[row], real[0])
        assert torch.equal(pool(hidden, mask, "last")[row], real[-1])
        torch.testing.assert_close(pool(hidden, mask, "mean")[row], sum(real) / len(real))


@given(LENGTHS, SIDES)
def test_real_tokens_are_numbered_from_the_offset_on(lengths: list[int], side: str):
    mask = padded_mask(lengths, side)
    numbered = position_ids(mask, offset=2)
    for row, length in enumerate(lengths):
        assert numbered[row][mask[row] == 1].tolist() == list(range(2, 2 + length))


def test_an_unknown_pooling_is_named():
    with pytest.raises(UnknownName, match="Did you mean 'last'"):
        pooled_token(torch.ones(1, 2), "lst")
