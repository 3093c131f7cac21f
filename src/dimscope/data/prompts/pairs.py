"""What a set of prompts is: prompts with their counterfactuals, token for token, and the answers to tell apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int


def _not_given() -> np.ndarray:
    return np.empty((0, 0), np.int64)


@dataclass(frozen=True, eq=False)
class PromptPairs:
    """Prompts, each with a counterfactual of as many tokens that differs only where it is meant to.

    `ids` are padded on the right; `mask` says where. Answers and options are outputs of the model: token ids of a
    language model, classes of a classifier. `others` are the answers to tell `answers` from: right for the
    counterfactual where anything is. `options` are what a prompt leaves to choose from; where they are not given, the
    answer and the other; `is_right` and `is_right_counterfactual` say which of them are right. `places` are named
    tokens of every prompt: `end`, its last real token, is always there. `notes` tell what the tokenizer left of it.
    """

    name: str
    texts: tuple[str, ...]
    counterfactuals: tuple[str, ...]
    ids: Int[np.ndarray, "pairs tokens"]
    counterfactual_ids: Int[np.ndarray, "pairs tokens"]
    mask: Int[np.ndarray, "pairs tokens"]
    answers: Int[np.ndarray, " pairs"]
    others: Int[np.ndarray, " pairs"]
    places: Mapping[str, Int[np.ndarray, " pairs"]]
    options: Int[np.ndarray, "pairs options"] = field(default_factory=_not_given)
    is_right: Bool[np.ndarray, "pairs options"] = field(default_factory=_not_given)
    is_right_counterfactual: Bool[np.ndarray, "pairs options"] = field(default_factory=_not_given)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.options.size:
            object.__setattr__(self, "options", np.stack([self.answers, self.others], axis=1))
        if not self.is_right.size:
            object.__setattr__(self, "is_right", self.options == self.answers[:, None])
        if not self.is_right_counterfactual.size:
            object.__setattr__(self, "is_right_counterfactual", self.options == self.others[:, None])

    def __len__(self) -> int:
        return len(self.texts)

    def at(self, indices: Int[np.ndarray, " chosen"]) -> PromptPairs:
        """Give the pairs at these places, in this order; the ids stay as wide as they are.

        >>> ids, one = np.array([[5, 6], [7, 8]]), np.array([1, 1])
        >>> pairs = PromptPairs("x", ("a", "b"), ("c", "d"), ids, ids + 1, np.ones_like(ids), one, one, {"end": one})
        >>> pairs.at(np.array([1])).texts
        ('b',)
        """
        arrays = {
            each.name: getattr(self, each.name)[indices]
            for each in fields(self)
            if isinstance(getattr(self, each.name), np.ndarray)
        }
        return replace(
            self,
            texts=tuple(self.texts[index] for index in indices),
            counterfactuals=tuple(self.counterfactuals[index] for index in indices),
            places={name: tokens[indices] for name, tokens in self.places.items()},
            **arrays,
        )

    def swapped(self) -> PromptPairs:
        """Give the pairs with prompt and counterfactual, answer and other exchanged."""
        return replace(
            self,
            texts=self.counterfactuals,
            counterfactuals=self.texts,
            ids=self.counterfactual_ids,
            counterfactual_ids=self.ids,
            answers=self.others,
            others=self.answers,
            is_right=self.is_right_counterfactual,
            is_right_counterfactual=self.is_right,
        )

    @property
    def first_difference(self) -> Int[np.ndarray, " pairs"]:
        """The first token at which prompt and counterfactual differ; 0 where they are equal."""
        return (self.ids != self.counterfactual_ids).argmax(axis=1)

    @cached_property
    def digest(self) -> str:
        """The hash of all tokens, answers, options and places: 64 hexadecimal digits."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        arrays = {name: value for name, value in {**named, **self.places}.items() if isinstance(value, np.ndarray)}
        described = [
            f"{name} {arrays[name].shape} {arrays[name].astype(np.int64).tobytes().hex()}" for name in sorted(arrays)
        ]
        return hashlib.sha256("\n".join(described).encode()).hexdigest()
