from __future__ import annotations

from dataclasses import replace

import pytest

from dimscope.core.errors import UserError
from dimscope.data.prompts.drafts import Draft, distinct

DRAFT = Draft(
    "{who} went to {where}, and {who_again} stayed in",
    {"who": "Ann", "where": "Rome", "who_again": "Bob"},
    {"who": "Ann", "where": "Oslo", "who_again": "Bob"},
    " Rome",
    " Oslo",
    (" Rome", " Oslo"),
    frozenset([" Rome"]),
    frozenset([" Oslo"]),
)


def test_words_stand_where_they_are_said_to():
    assert DRAFT.text == "Ann went to Rome, and Bob stayed in"
    assert DRAFT.counterfactual == "Ann went to Oslo, and Bob stayed in"
    assert {mark: DRAFT.text[first:end] for mark, (first, end) in DRAFT.spans.items()} == DRAFT.words
    assert DRAFT.changed == ["where"]


def test_equal_drafts_are_drawn_once_in_the_order_of_drawing():
    other, third = replace(DRAFT, counterfactual_words=DRAFT.words), replace(DRAFT, template="{who}{where}{who_again}")
    drawn = iter([DRAFT, DRAFT, other, DRAFT, third])
    assert distinct("x", lambda: next(drawn), 3) == [DRAFT, other, third]


def test_too_few_different_drafts_are_told():
    with pytest.raises(UserError, match="x: wanted 2 different pairs, found 1"):
        distinct("x", lambda: DRAFT, 2)
