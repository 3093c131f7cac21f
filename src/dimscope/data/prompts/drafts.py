"""Prompts as words in a template, before a tokenizer has seen them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import Formatter

from dimscope.core.errors import UserError

_TRIES = 1000
"""So many draws without a new pair mean that there is none left."""

Span = tuple[int, int]
"""The first character of a word, and the one after its last."""


@dataclass(frozen=True)
class Draft:
    """A template whose marked words, `{IO}`, are the prompt's places, with the words of prompt and counterfactual.

    Answer, other and options are what may follow, with their leading space where the text needs one. `right` and
    `right_counterfactual` are the options that are right.
    """

    template: str
    words: Mapping[str, str]
    counterfactual_words: Mapping[str, str]
    answer: str
    other: str
    options: tuple[str, ...]
    right: frozenset[str]
    right_counterfactual: frozenset[str]

    @property
    def text(self) -> str:
        """The prompt."""
        return fill(self.template, self.words)[0]

    @property
    def counterfactual(self) -> str:
        """The counterfactual."""
        return fill(self.template, self.counterfactual_words)[0]

    @property
    def spans(self) -> dict[str, Span]:
        """Where the marked words stand in the prompt."""
        return fill(self.template, self.words)[1]

    @property
    def changed(self) -> list[str]:
        """The marked words in which prompt and counterfactual differ."""
        return [mark for mark, word in self.words.items() if self.counterfactual_words[mark] != word]


def fill(template: str, words: Mapping[str, str]) -> tuple[str, dict[str, Span]]:
    """Put words into a template and tell where they stand.

    >>> fill("to {place} and {way}", {"place": "Rome", "way": "back"})
    ('to Rome and back', {'place': (3, 7), 'way': (12, 16)})
    """
    text, spans = "", {}
    for before, mark, _, _ in Formatter().parse(template):
        text += before
        if mark:
            spans[mark] = (len(text), len(text) + len(words[mark]))
            text += words[mark]
    return text, spans


def distinct(name: str, draw: Callable[[], Draft], num_pairs: int) -> list[Draft]:
    """Draw until so many drafts differ from each other in their prompt or counterfactual.

    Raises:
        UserError: there seem not to be so many.
    """
    drawn: dict[tuple[str, str], Draft] = {}
    while len(drawn) < num_pairs:
        tries = (draw() for _ in range(_TRIES))
        new = next((draft for draft in tries if (draft.text, draft.counterfactual) not in drawn), None)
        if new is None:
            raise UserError(
                f"{name}: wanted {num_pairs} different pairs, found {len(drawn)}: ask for no more than these"
            )
        drawn[new.text, new.counterfactual] = new
    return list(drawn.values())
