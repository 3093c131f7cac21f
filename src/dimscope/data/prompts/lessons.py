"""Prompts of a set in two parts: those to learn from, without end, and those held out to be asked; no text is in both.

Where names, colors, numbers or tokens are drawn there are always other prompts, and those held out are left out of
them; words and sentences are the same. Facts are a finite table: all of them are to be learned, each in all of its
sentences but one, in which it is asked. So what is asked is the fact, never a text that was seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from transformers import PreTrainedTokenizerBase

from dimscope.core.errors import UserError
from dimscope.core.seeds import integer, stream
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.data.prompts.pairs import PromptPairs

LOT = 512
"""Pairs that are drawn at once."""
_DRAWS_OF_FACTS = 3000
"""So many that all facts come in all of their sentences."""
_SUBJECT = "subject"
"""The place that only facts have."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Texts as token ids, padded on the right, how many tokens each has, and the token that is to follow it."""

    ids: Int[np.ndarray, "texts tokens"]
    lengths: Int[np.ndarray, " texts"]
    answers: Int[np.ndarray, " texts"]

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, chosen: Int[np.ndarray, " chosen"]) -> Examples:
        """Give the texts at these places, no wider than they need to be.

        >>> examples = Examples(np.array([[5, 6], [7, 0]]), np.array([2, 1]), np.array([8, 9]))
        >>> examples.at(np.array([1])).ids
        array([[7]])
        """
        lengths = self.lengths[chosen]
        return Examples(self.ids[chosen, : lengths.max(initial=0)], lengths, self.answers[chosen])


@dataclass(frozen=True, eq=False)
class Lessons:
    """A set of prompts: `asked` is held out, and `lot(k)` draws the k-th lot of texts to learn from."""

    name: str
    asked: PromptPairs
    lot: Callable[[int], Examples]


def lessons(name: str, tokenizer: PreTrainedTokenizerBase, num_asked: int, seed: int) -> Lessons:
    """Part a set of prompts; of facts, which are asked one and all, `num_asked` does not count.

    Raises:
        UnknownName: there is no such set.
        UserError: the tokenizer cannot write it, or it has not so many pairs.
    """
    pairs = make_prompts(name, tokenizer, num_asked, seed)
    return _facts(name, tokenizer, seed) if _SUBJECT in pairs.places else _drawn(name, tokenizer, pairs, seed)


def examples(pairs: PromptPairs, without: Collection[str] = ()) -> Examples:
    """Give prompts and counterfactuals with what is right for each, but for the texts that are to be left out.

    Each counterfactual follows its prompt, so that they come in one batch: what depends on that alone in which the two
    are equal pulls to both answers, and hides less of the rest.
    """
    swapped = pairs.swapped()
    texts = [text for both in zip(pairs.texts, swapped.texts, strict=True) for text in both]
    has_answer = np.stack([each.is_right.any(axis=1) for each in (pairs, swapped)], axis=1).ravel()
    all_of_them = Examples(
        np.stack([pairs.ids, swapped.ids], axis=1).reshape(len(texts), -1),
        np.repeat(pairs.mask.sum(axis=1), 2),
        np.stack([pairs.answers, swapped.answers], axis=1).ravel(),
    )
    return all_of_them.at(np.flatnonzero(has_answer & [text not in without for text in texts]))


def with_noise(clean: Examples, share: float, rng: np.random.Generator) -> Examples:
    """Give a share of the texts the answer of others, each other answer among them as likely.

    >>> clean = Examples(np.zeros((4, 1), int), np.ones(4, int), np.array([7, 8, 7, 8]))
    >>> with_noise(clean, 1.0, np.random.default_rng(0)).answers
    array([8, 7, 8, 7])
    """
    known, places = np.unique(clean.answers, return_inverse=True)
    moved = (places + rng.integers(1, max(len(known), 2), len(clean))) % len(known)
    answers = np.where(rng.random(len(clean)) < share, known[moved], clean.answers)
    return Examples(clean.ids, clean.lengths, answers)


def _drawn(name: str, tokenizer: PreTrainedTokenizerBase, asked: PromptPairs, seed: int) -> Lessons:
    without = {*asked.texts, *asked.counterfactuals}

    def lot(number: int) -> Examples:
        pairs = make_prompts(name, tokenizer, LOT, integer(seed, f"to learn from/{name}/{number}"))
        found = examples(pairs, without)
        if len(found) < LOT // 2:
            raise UserError(
                f"{name}: {len(asked)} pairs are held out, and hardly any others are left to learn from: hold out fewer"
            )
        return found

    return Lessons(name, asked, lot)


def _facts(name: str, tokenizer: PreTrainedTokenizerBase, seed: int) -> Lessons:
    drawn = make_prompts(name, tokenizer, _DRAWS_OF_FACTS, integer(seed, f"facts/{name}"))
    table = drawn.at(np.unique(drawn.texts, return_index=True)[1])
    subjects = table.ids[np.arange(len(table)), table.places[_SUBJECT]]
    by_fact = defaultdict(list)
    for row, fact in enumerate(zip(subjects.tolist(), table.answers.tolist(), strict=True)):
        by_fact[fact].append(row)
    rng = stream(seed, f"asked sentences/{name}")
    held_out = np.array([int(rng.choice(rows)) for rows in by_fact.values() if len(rows) > 1])
    taught = np.setdiff1d(np.arange(len(table)), held_out)
    known = Examples(table.ids[taught], table.mask[taught].sum(axis=1), table.answers[taught])

    def lot(number: int) -> Examples:
        return known.at(stream(seed, f"to learn from/{name}/{number}").integers(len(known), size=LOT))

    return Lessons(name, table.at(held_out), lot)
