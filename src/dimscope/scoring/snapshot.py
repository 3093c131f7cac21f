"""What stands out in a classifier at one step of its training, and a row of such steps.

The principal dimension ρ is the one of the largest variance; its threshold is learned on one half of the sentences,
and its accuracy is that on the other, beside the full model's and the majority class's (Rudman, Chen & Eickhoff 2023,
2310.17715, equation 1 and section 3; the threshold is the exact one, not the paper's grid).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float64, Int

from dimscope.core.result import Array, Number
from dimscope.numerics.moments import Moments
from dimscope.numerics.outliers import outlier_dims, principal_dim, variance_share
from dimscope.numerics.thresholds import exact_thresholds
from dimscope.scoring.classification import accuracy, majority


@dataclass(frozen=True, eq=False)
class Half:
    """One half of the sentences as the model sees them, and their true classes."""

    states: Float[np.ndarray, "sentences dims"]
    logits: Float[np.ndarray, "sentences classes"]
    labels: Int[np.ndarray, " sentences"]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One step: the variance of every dimension, which of them stand out, and the named numbers."""

    step: int
    variance: Float64[np.ndarray, " dims"]
    outliers: Int[np.ndarray, " outliers"]
    numbers: Sequence[Number]


def snapshot(step: int, learned: Half, held_out: Half, factor: float) -> Snapshot:
    """Measure one step: variances over both halves, ρ's threshold learned on one, accuracies on the other.

    >>> states = np.array([[-2.0, 0.0], [2.0, 0.1]])
    >>> half = Half(states, logits=states, labels=np.array([0, 1]))
    >>> snapshot(100, half, half, factor=5.0).numbers[1]
    Number(name='principal_dim', value=0.0, unit='index', better=None, interval=None, where={'step': 100})

    Raises:
        UserError: a state is not finite.
    """
    moments = Moments.of(learned.states)
    moments.update(held_out.states)
    variance, rho = moments.variance, principal_dim(moments.variance)
    outliers = outlier_dims(variance, factor)
    ratio = variance_share(variance, [rho]) * len(variance)
    numbers = [
        Number(name="num_outlier_dims", value=len(outliers), unit="dims"),
        Number(name="principal_dim", value=rho, unit="index"),
        Number(name="principal_variance_ratio", value=ratio, unit="x mean variance"),
        *_accuracies(learned, held_out, rho),
    ]
    placed = [replace(number, where={**number.where, "step": step}) for number in numbers]
    return Snapshot(step, variance, outliers, placed)


def arrays(snapshots: Sequence[Snapshot]) -> dict[str, Array]:
    """Lay the steps out side by side: step, variance, is_outlier."""
    variance = np.stack([each.variance for each in snapshots])
    dims = np.arange(variance.shape[1])
    return {
        "step": Array(np.array([each.step for each in snapshots]), ("step",)),
        "variance": Array(variance, ("step", "dim")),
        "is_outlier": Array(np.stack([np.isin(dims, each.outliers) for each in snapshots]), ("step", "dim")),
    }


def _accuracies(learned: Half, held_out: Half, rho: int) -> list[Number]:
    rule = exact_thresholds(learned.states[:, [rho]], learned.labels, learned.logits.shape[1])
    answers = {
        "principal dimension": rule.predict(held_out.states[:, [rho]])[:, 0],
        "full model": held_out.logits.argmax(axis=1),
        "majority class": majority(learned.labels),
    }
    return [accuracy(held_out.labels == answer, classifier=classifier) for classifier, answer in answers.items()]
