"""Prompts as a tokenizer sees them, checked: single-token answers, and counterfactuals that fit token for token.

A word is looked at where it stands, behind other text: byte-pair tokenizers give ' Mary' and 'Mary' different tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64
from transformers import BatchEncoding, PreTrainedTokenizerBase

from dimscope.core.errors import UserError
from dimscope.data.prompts.drafts import Draft
from dimscope.data.prompts.pairs import PromptPairs

_TAKE_ANOTHER = (
    "Take a model whose vocabulary holds whole words, such as smollm2 or gpt2, or the prompts 'prompts/induction', "
    "which any tokenizer can write"
)


def follow_by_one(tokenizer: PreTrainedTokenizerBase, before: str, words: Sequence[str]) -> list[str]:
    """Give those words that add exactly one token behind `before`, and leave its own tokens as they are."""
    return [word for word, token in zip(words, _next_tokens(tokenizer, before, words), strict=True) if token >= 0]


def single_tokens(
    tokenizer: PreTrainedTokenizerBase, name: str, what: str, words: Sequence[str], at_least: int
) -> tuple[list[str], str]:
    """Give the words that are one token behind a space, and a note on how many these are.

    Raises:
        UserError: there are fewer than `at_least`.
    """
    kept = [word[1:] for word in follow_by_one(tokenizer, "the", [f" {word}" for word in words])]
    require(name, what, len(kept), len(words), at_least)
    return kept, f"{len(kept)} of {len(words)} {what} are single tokens and used"


def require(name: str, what: str, num_kept: int, num_words: int, at_least: int) -> None:
    """Refuse a tokenizer that has too few of the words as single tokens.

    Raises:
        UserError: it has.
    """
    if num_kept < at_least:
        raise UserError(
            f"{name}: wanted at least {at_least} {what} that are single tokens, and the tokenizer has {num_kept} of "
            f"{num_words}. {_TAKE_ANOTHER}"
        )


def tokenized(
    name: str, tokenizer: PreTrainedTokenizerBase, drafts: Sequence[Draft], notes: Sequence[str]
) -> PromptPairs:
    """Turn drafts into pairs, with the model's own special tokens; the tokenizer must have a pad token.

    Raises:
        UserError: an answer or an option is not one token, or a counterfactual does not fit its prompt.
    """
    texts = tuple(draft.text for draft in drafts)
    counterfactuals = tuple(draft.counterfactual for draft in drafts)
    encoded, changed = tokenizer(list(texts)), tokenizer(list(counterfactuals))
    for index, draft in enumerate(drafts):
        _require_aligned(name, draft, encoded, changed["input_ids"][index], index)
    # Every option stands behind its own prompt: this alone shows that it is one token there.
    numbers = [_option_tokens(name, tokenizer, draft) for draft in drafts]
    ends = np.array([len(row) - 1 for row in encoded["input_ids"]])
    return PromptPairs(
        name=name,
        texts=texts,
        counterfactuals=counterfactuals,
        ids=padded(encoded["input_ids"], tokenizer.pad_token_id),
        counterfactual_ids=padded(changed["input_ids"], tokenizer.pad_token_id),
        mask=(np.arange(ends.max() + 1) <= ends[:, None]).astype(np.int64),
        answers=np.array([of[draft.answer] for of, draft in zip(numbers, drafts, strict=True)]),
        others=np.array([of[draft.other] for of, draft in zip(numbers, drafts, strict=True)]),
        places=_places(drafts, encoded) | {"end": ends},
        options=np.array([[of[option] for option in draft.options] for of, draft in zip(numbers, drafts, strict=True)]),
        is_right=np.array([[option in draft.right for option in draft.options] for draft in drafts]),
        is_right_counterfactual=np.array(
            [[option in draft.right_counterfactual for option in draft.options] for draft in drafts]
        ),
        notes=tuple(notes),
    )


def padded(rows: Sequence[Sequence[int]], pad_id: int) -> Int64[np.ndarray, "pairs tokens"]:
    """Lay rows of token ids out as one array, filled up on the right.

    >>> padded([[5, 6], [7]], pad_id=9).tolist()
    [[5, 6], [7, 9]]
    """
    width = max(len(row) for row in rows)
    return np.array([[*row, *[pad_id] * (width - len(row))] for row in rows], np.int64)


def _places(drafts: Sequence[Draft], encoded: BatchEncoding) -> dict[str, Int64[np.ndarray, " pairs"]]:
    """Give the last token of every marked word."""
    spans = [draft.spans for draft in drafts]
    return {
        mark: np.array([encoded.char_to_token(index, each[mark][1] - 1) for index, each in enumerate(spans)])
        for mark in drafts[0].words
    }


def _option_tokens(name: str, tokenizer: PreTrainedTokenizerBase, draft: Draft) -> dict[str, int]:
    tokens = dict(zip(draft.options, _next_tokens(tokenizer, draft.text, draft.options), strict=True))
    for option, token in tokens.items():
        if token < 0:
            raise UserError(
                f"{name}: wanted the answer {option!r} as one token behind {draft.text!r}, but the tokenizer makes "
                f"another number of it. {_TAKE_ANOTHER}"
            )
    return tokens


def _next_tokens(tokenizer: PreTrainedTokenizerBase, before: str, words: Sequence[str]) -> list[int]:
    """Give the token that each word adds behind `before`; -1 where it is not one, or where `before` changes."""
    start, *longer = tokenizer([before, *(before + word for word in words)])["input_ids"]
    return [row[-1] if row[:-1] == start else -1 for row in longer]


def _require_aligned(name: str, draft: Draft, encoded: BatchEncoding, changed: list[int], index: int) -> None:
    ids = encoded["input_ids"][index]
    if len(ids) != len(changed):
        raise UserError(
            f"{name}: wanted a counterfactual of as many tokens as its prompt, but the tokenizer makes {len(ids)} of "
            f"{draft.text!r} and {len(changed)} of {draft.counterfactual!r}. {_TAKE_ANOTHER}"
        )
    meant = set()
    for first, end in (draft.spans[mark] for mark in draft.changed):
        meant |= set(range(encoded.char_to_token(index, first), encoded.char_to_token(index, end - 1) + 1))
    differ = {place for place, (one, other) in enumerate(zip(ids, changed, strict=True)) if one != other}
    if not differ <= meant:
        raise UserError(
            f"{name}: wanted {draft.text!r} and {draft.counterfactual!r} to differ in "
            f"{', '.join(draft.changed)} alone, but their tokens {sorted(differ - meant)} differ too. {_TAKE_ANOTHER}"
        )
