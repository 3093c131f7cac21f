"""What a model's output says about an answer, as a function of its logits: one number for every pair of prompts.

They hold for language models, whose outputs are tokens, and for classifiers alike, and gradients go through all but
rank and accuracy. The logit difference is that of Wang et al. 2023 (2211.00593), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dimscope.core.errors import UnknownName

Outputs = Int[np.ndarray, " pairs"] | Int[Tensor, " pairs"]
Of = Callable[[Float[Tensor, "pairs chosen"]], Float[Tensor, " pairs"]]
Metric = Callable[[Float[Tensor, "pairs outputs"], Outputs, Outputs], Float[Tensor, " pairs"]]


def logit_difference(
    logits: Float[Tensor, "pairs outputs"], answers: Outputs, others: Outputs
) -> Float[Tensor, " pairs"]:
    """Give the answer's logit minus the other's; higher is better.

    >>> logit_difference(torch.tensor([[1.0, 4.0, 2.0]]), np.array([1]), np.array([0])).tolist()
    [3.0]
    """
    return _at(logits, answers) - _at(logits, others)


def probability(logits: Float[Tensor, "pairs outputs"], answers: Outputs, others: Outputs) -> Float[Tensor, " pairs"]:
    """Give the answer's probability among all outputs; higher is better.

    >>> probability(torch.zeros(1, 4), np.array([1]), np.array([0])).tolist()
    [0.25]
    """
    return log_probability(logits, answers, others).exp()


def log_probability(
    logits: Float[Tensor, "pairs outputs"], answers: Outputs, others: Outputs
) -> Float[Tensor, " pairs"]:
    """Give the natural logarithm of the answer's probability among all outputs; higher is better.

    >>> log_probability(torch.zeros(1, 4), np.array([1]), np.array([0])).tolist()
    [-1.386...]
    """
    return _at(logits.log_softmax(dim=1), answers)


def rank(logits: Float[Tensor, "pairs outputs"], answers: Outputs, others: Outputs) -> Float[Tensor, " pairs"]:
    """Give the answer's place among all outputs, from 1, the best; outputs as high as the answer go before it.

    >>> rank(torch.tensor([[1.0, 4.0, 2.0, 2.0]]), np.array([2]), np.array([0])).tolist()
    [3.0]
    """
    return (logits >= _at(logits, answers).unsqueeze(1)).sum(dim=1).to(logits.dtype)


def accuracy(logits: Float[Tensor, "pairs outputs"], answers: Outputs, others: Outputs) -> Float[Tensor, " pairs"]:
    """Give 1 where the answer is higher than all other outputs, 0 elsewhere; a tie is none.

    >>> accuracy(torch.tensor([[1.0, 4.0], [2.0, 2.0]]), np.array([1, 1]), np.array([0, 0])).tolist()
    [1.0, 0.0]
    """
    return (rank(logits, answers, others) == 1).to(logits.dtype)


METRICS: Mapping[str, Metric] = {
    "logit_difference": logit_difference,
    "probability": probability,
    "log_probability": log_probability,
    "rank": rank,
    "accuracy": accuracy,
}


def find_metric(name: str) -> Metric:
    """Give the metric of that name.

    Raises:
        UnknownName: there is none.
    """
    if name not in METRICS:
        raise UnknownName("metric", name, METRICS)
    return METRICS[name]


def bound(name: str, answers: Outputs, others: Outputs) -> tuple[Int[Tensor, "pairs two"] | None, Of]:
    """Give the outputs that a metric needs of each pair, None for all, and the metric as a function of those alone.

    >>> columns, difference = bound("logit_difference", np.array([4, 1]), np.array([7, 0]))
    >>> columns.tolist(), difference(torch.tensor([[5.0, 2.0], [1.0, 1.0]])).tolist()
    ([[4, 7], [1, 0]], [3.0, 0.0])

    Raises:
        UnknownName: there is no such metric.
    """
    metric = find_metric(name)
    if metric is not logit_difference:
        return None, lambda logits: metric(logits, answers, others)
    columns = torch.stack([torch.as_tensor(each) for each in (answers, others)], dim=1)
    return columns, lambda logits: logits[:, 0] - logits[:, 1]


def _at(values: Float[Tensor, "pairs outputs"], outputs: Outputs) -> Float[Tensor, " pairs"]:
    return values.gather(1, torch.as_tensor(outputs, device=values.device).unsqueeze(1)).squeeze(1)
