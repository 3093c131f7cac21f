"""How good a classifier's answers are, with the majority baseline beside and an interval."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from sklearn.metrics import f1_score, matthews_corrcoef

from dimscope.core.result import Number
from dimscope.numerics.resampling import wilson_interval


def scores(
    predicted: Int[np.ndarray, " sentences"], labels: Int[np.ndarray, " sentences"], majority_class: int
) -> list[Number]:
    """Score predicted classes: accuracy, macro-F1, Matthews correlation, and the accuracy of the majority class.

    The majority class is the training data's, so that its accuracy is a score on held-out data like the others.
    """
    return [
        accuracy(predicted == labels, "accuracy"),
        Number(name="macro_f1_score", value=float(f1_score(labels, predicted, average="macro")), better="higher"),
        Number(
            name="matthews_correlation_score",
            value=float(matthews_corrcoef(labels, predicted)),
            better="higher",
        ),
        accuracy(labels == majority_class, "majority_accuracy"),
    ]


def accuracy(is_right: np.ndarray, name: str = "accuracy", **where: str | int | float) -> Number:
    """Give the share of right answers with its Wilson interval.

    >>> accuracy(np.array([True, False])).value
    0.5
    """
    interval = wilson_interval(int(is_right.sum()), len(is_right))
    return Number(name=name, value=float(is_right.mean()), better="higher", interval=interval, where=where)


def majority(labels: Int[np.ndarray, " sentences"]) -> int:
    """Give the most frequent class, the lowest of those on a tie."""
    return int(np.bincount(labels).argmax())
