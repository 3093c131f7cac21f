from __future__ import annotations

from dataclasses import replace

import pytest

from dimscope.core.errors import UserError
from dimscope.data.prompts.drafts import Draft
from dimscope.data.prompts.tokens import follow_by_one, single_tokens, tokenized

DRAFT = Draft(
    "the capital of {subject} is",
    {"subject": "France"},
    {"subject": "Italy"},
    " Paris",
    " Rome",
    (" Paris", " Rome"),
    frozenset([" Paris"]),
    frozenset([" Rome"]),
)


def test_what_adds_one_token_and_changes_none_before_it(tokenizer):
    words = [" Paris", "Paris", " Xqzw", "s", ""]
    # "the" and "s" make "thes", whose tokens are t, h, e, s: one more, and the first ones as they were.
    kept = follow_by_one(tokenizer(), "the", words)
    reading = tokenizer()
    before = reading("the")["input_ids"]
    by_hand = [word for word in words if reading(f"the{word}")["input_ids"][:-1] == before]
    assert kept == by_hand
    assert " Paris" in kept
    assert " Xqzw" not in kept


def test_the_number_that_was_kept_is_told(tokenizer):
    kept, note = single_tokens(tokenizer(), "x", "towns", ["Paris", "Xqzw", "Rome"], at_least=2)
    assert kept == ["Paris", "Rome"]
    assert note == "2 of 3 towns are single tokens and used"
    with pytest.raises(UserError, match="x: wanted at least 3 towns that are single tokens, and the tokenizer has 2"):
        single_tokens(tokenizer(), "x", "towns", ["Paris", "Xqzw", "Rome"], at_least=3)


def test_an_answer_of_several_tokens_is_refused(tokenizer):
    long = replace(DRAFT, answer=" Xqzw", options=(" Xqzw", " Rome"))
    with pytest.raises(UserError, match="wanted the answer ' Xqzw' as one token behind 'the capital of France is'"):
        tokenized("x", tokenizer(), [DRAFT, long], [])


def test_a_counterfactual_of_another_length_is_refused(tokenizer):
    longer = replace(DRAFT, counterfactual_words={"subject": "Xqzw"})
    with pytest.raises(UserError, match="wanted a counterfactual of as many tokens as its prompt"):
        tokenized("x", tokenizer(), [DRAFT, longer], [])


def test_a_counterfactual_that_changes_tokens_beside_the_word_is_refused(tokenizer):
    hidden = _SaysMore("the capital of {subject} is", DRAFT.words, DRAFT.counterfactual_words, *_rest(DRAFT))
    with pytest.raises(UserError, match="to differ in subject alone, but their tokens"):
        tokenized("x", tokenizer(), [hidden], [])


class _SaysMore(Draft):
    """A draft whose counterfactual differs at a place that it does not tell."""

    @property
    def counterfactual(self) -> str:
        return "this capital of Italy is"


def _rest(draft: Draft) -> tuple:
    return draft.answer, draft.other, draft.options, draft.right, draft.right_counterfactual


def test_a_place_is_the_last_token_of_its_word(tokenizer):
    reading = tokenizer()
    long = replace(DRAFT, words={"subject": "Xqzw"}, counterfactual_words={"subject": "Xqzv"})
    pairs = tokenized("x", reading, [DRAFT, long], ["a note"])
    for index, last in enumerate(["France", "w"]):
        assert reading.decode([pairs.ids[index, pairs.places["subject"][index]]]).strip() == last
    assert pairs.notes == ("a note",)
    assert (pairs.ids[0][pairs.mask[0] == 0] == reading.pad_token_id).all()
