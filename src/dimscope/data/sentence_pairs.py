"""Sentences of different classes side by side, token for token, as prompts and counterfactuals of a classifier."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from dimscope.core.errors import UserError
from dimscope.data.batching import Encoded
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.data.prompts.tokens import padded
from dimscope.data.task import Split


def sentence_pairs(
    name: str, split: Split, encoded: Encoded, pad_id: int, num_pairs: int, rng: np.random.Generator
) -> PromptPairs:
    """Pair sentences of different classes that have equally many tokens; each sentence stands in one pair at most.

    The answers are the classes. There are as many pairs as asked for, or as there can be if these are fewer; `first`
    and `end` are their named places.

    Raises:
        UserError: the task's sentences are pairs themselves, or no two can be paired.
    """
    if split.pairs:
        raise UserError(f"wanted single sentences to pair, but those of {name!r} are pairs already: take another task")
    chosen = list(_matched(encoded.lengths, split.labels, rng))
    if not chosen:
        raise UserError(f"{name!r} has no two sentences of different classes with equally many tokens: take more data")
    pairs = rng.permutation(np.array(chosen))[:num_pairs]
    ones, others = (pairs[:, side] for side in (0, 1))
    lengths = encoded.lengths[ones]
    ids, counterfactual_ids = (padded([encoded.ids[row] for row in rows], pad_id) for rows in (ones, others))
    return PromptPairs(
        name=name,
        texts=split.at(ones).texts,
        counterfactuals=split.at(others).texts,
        ids=ids,
        counterfactual_ids=counterfactual_ids,
        mask=(np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64),
        answers=split.labels[ones],
        others=split.labels[others],
        places={"first": np.zeros_like(lengths), "end": lengths - 1},
    )


def _matched(
    lengths: Int[np.ndarray, " sentences"], labels: Int[np.ndarray, " sentences"], rng: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """Give pairs of one length each: always one sentence of either of the two classes that have the most left."""
    waiting: defaultdict[int, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in rng.permutation(len(labels)).tolist():
        waiting[int(lengths[row])][int(labels[row])].append(row)
    for length in sorted(waiting):
        by_class = waiting[length]
        while len(left := sorted(filter(None, by_class.values()), key=len)) > 1:
            # Which of the two is the prompt must not depend on the class.
            one, other = rng.permutation([left[-1].pop(), left[-2].pop()]).tolist()
            yield one, other
