"""What a task is: texts with their classes, in two splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int, Int64

from dimscope.core.errors import UnknownName


@dataclass(frozen=True, eq=False)
class Split:
    """Sentences, or pairs of sentences, each with its class and, in graded tasks, its score."""

    texts: tuple[str, ...]
    labels: Int64[np.ndarray, " sentences"]
    pairs: tuple[str, ...] | None = None
    scores: Float64[np.ndarray, " sentences"] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def inputs(self) -> Iterator[tuple[str, ...]]:
        """Give the text, or the two texts, of every sentence."""
        return zip(self.texts, self.pairs, strict=True) if self.pairs else zip(self.texts, strict=True)

    def at(self, indices: Int[np.ndarray, " chosen"]) -> Split:
        """Give the sentences at these places, in this order.

        >>> Split(("a", "b", "c"), np.array([0, 1, 1])).at(np.array([2, 0])).texts
        ('c', 'a')
        """
        return Split(
            tuple(self.texts[index] for index in indices),
            self.labels[indices],
            tuple(self.pairs[index] for index in indices) if self.pairs else None,
            self.scores[indices] if self.scores is not None else None,
        )


@dataclass(frozen=True, eq=False)
class Task:
    """Two splits with the same classes; `label_names[label]` names a class, `notes` tell what was done to the data."""

    name: str
    label_names: tuple[str, ...]
    train: Split
    validation: Split
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> Split:
        """Give the split 'train' or 'validation'.

        Raises:
            UnknownName: it is neither.
        """
        splits = {"train": self.train, "validation": self.validation}
        if name not in splits:
            raise UnknownName("split", name, splits)
        return splits[name]

    @cached_property
    def digest(self) -> str:
        """The hash of everything that the task holds, whatever its name: 64 hexadecimal digits."""
        splits = [
            [*split.inputs(), split.labels.tolist(), None if split.scores is None else split.scores.tolist()]
            for split in (self.train, self.validation)
        ]
        return hashlib.sha256(json.dumps([self.label_names, splits]).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Labeled:
    """What a reader found: the data as they lie in their files, with or without a validation split."""

    label_names: tuple[str, ...]
    train: Split
    validation: Split | None = None
    notes: tuple[str, ...] = ()
