from __future__ import annotations

import numpy as np
import pytest

from dimscope.core.errors import UserError
from dimscope.data.prompts.relations import Relation, paired, pairs_of

TOWNS = Relation(("the town of {subject} is",), paired("France Paris, Italy Rome, Japan Tokyo, Egypt Cairo"))
SEASONS = Relation(("after {subject} comes",), paired("May June, June July"))


def test_a_relation_with_too_few_objects_is_left_out_and_told(tokenizer):
    pairs = pairs_of("x", [TOWNS, SEASONS], tokenizer(), 12, 0)
    assert all(text.startswith("the town") for text in pairs.texts)
    assert pairs.notes == ("4 of 6 facts have subjects and objects that are single tokens and are used",)
    # Four towns, each with three others: every pair there is.
    assert len(set(zip(pairs.texts, pairs.counterfactuals, strict=True))) == 12
    with pytest.raises(UserError, match="wanted 13 different pairs, found 12"):
        pairs_of("x", [TOWNS, SEASONS], tokenizer(), 13, 0)


def test_two_subjects_with_one_object_are_no_counterfactuals_of_each_other(tokenizer):
    same = Relation(("the town of {subject} is",), {**TOWNS.objects, "Spain": "Paris"})
    pairs = pairs_of("x", [same], tokenizer(), 18, 0)
    assert (pairs.answers != pairs.others).all()
    np.testing.assert_array_equal(pairs.is_right.sum(axis=1), 1)
