"""Does the model do what its prompts ask for? The share that it has right, among all outputs and among the options.

Whoever looks for the parts that do a job must know first whether the job is done. Wang et al. 2023 (2211.00593),
section 3, tell the mean logit difference and how often it is above 0; Merullo, Eickhoff & Pavlick 2024 (2310.08744),
section 5, the share by arg-max over the vocabulary. Here both stand for prompts and counterfactuals, beside what
chance gives and what the best answer gives that is the same to all prompts. An answer that shares the first place with
another output counts as wrong.
"""

from __future__ import annotations

import numpy as np

from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.result import Array, Number, Result
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.numerics.resampling import mean_interval
from dimscope.scoring.classification import accuracy
from dimscope.scoring.known import Among, Answered, answer

_AMONG: tuple[Among, ...] = ("outputs", "options")


class PromptAccuracy(Method):
    """Accuracy and mean logit difference on prompts and counterfactuals."""

    sources = (
        "Wang, Variengien, Conmy, Shlegeris & Steinhardt 2023 (2211.00593), section 3",
        "Merullo, Eickhoff & Pavlick 2024 (2310.08744), section 5",
    )

    def run(self, bench: Bench) -> Result:
        """Answer all pairs of the bench, both ways."""
        pairs = bench.pairs
        texts = {"prompt": pairs, "counterfactual": pairs.swapped()}
        answered = {text: answer(bench.network, each) for text, each in texts.items()}
        numbers = [
            number
            for text, each in texts.items()
            for number in describe(each, answered[text], bench.network.num_labels, text)
        ]
        ticks = {"text": tuple(texts), "among": _AMONG}
        arrays = {
            "is_right": Array(
                np.stack([[each.is_right(among) for among in _AMONG] for each in answered.values()]).astype(np.int64),
                ("text", "among", "pair"),
                ticks=ticks,
            ),
            "logit_difference": Array(
                np.stack([each.logit_difference for each in answered.values()]),
                ("text", "pair"),
                unit="logits",
                ticks={"text": tuple(texts)},
            ),
        }
        return Result(numbers=numbers, arrays=arrays, notes=[*pairs.notes, *_nothing_right(texts)])


def describe(pairs: PromptPairs, answered: Answered, num_outputs: int, text: str) -> list[Number]:
    """Give accuracies with chance beside, and the mean logit difference, of the prompts of these pairs."""
    difference = answered.logit_difference.astype(np.float64)
    numbers = [
        Number(
            name="mean_logit_difference",
            value=float(difference.mean()),
            unit="logits",
            better="higher",
            interval=mean_interval(difference),
            where={"text": text},
        )
    ]
    if not pairs.is_right.any():
        return numbers
    numbers.append(Number(name="constant_accuracy", value=best_constant(pairs), where={"text": text}))
    chance = {"outputs": pairs.is_right.sum(axis=1) / num_outputs, "options": pairs.is_right.mean(axis=1)}
    for among in _AMONG:
        place = {"text": text, "among": among}
        numbers.append(accuracy(answered.is_right(among), **place))
        numbers.append(Number(name="chance_accuracy", value=float(chance[among].mean()), where=place))
    return numbers


def best_constant(pairs: PromptPairs) -> float:
    """Give the share of prompts for which the option is right that is right most often.

    >>> ids, one = np.array([[5], [6], [7]]), np.zeros(3, int)
    >>> best_constant(PromptPairs("x", ("",) * 3, ("",) * 3, ids, ids, ids, np.array([4, 8, 4]), one, {"end": one}))
    0.666...
    """
    _, counts = np.unique(pairs.options[pairs.is_right], return_counts=True)
    return float(counts.max() / len(pairs))


def _nothing_right(texts: dict[str, PromptPairs]) -> list[str]:
    return [
        f"Of the {text}s no option is right, so they have no accuracy; their logit difference is told all the same."
        for text, pairs in texts.items()
        if not pairs.is_right.any()
    ]
