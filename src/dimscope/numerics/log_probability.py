"""The change of an output's log-probability, shared out exactly to the parts that moved the logits.

Along the straight line from the logits z to z + Σ δ_c, the log-probability of output a changes by the integral of
δ_c[a] − Σ_v p_v δ_c[v] for each part c, p being the softmax on the way: integrated gradients (Sundararajan, Taly & Yan
2017, 1703.01365, equation 1), which share out everything. With p held uniform it is the part's logit of a less its mean
logit: direct logit attribution.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64
from scipy.special import log_softmax, softmax

_NUM_POINTS = 64
"""Gauss–Legendre's points on the way; enough for logits that move by a hundred."""


def shared_out(
    logits: Float[np.ndarray, " outputs"], moves: Float[np.ndarray, "parts outputs"], output: int
) -> Float64[np.ndarray, " parts"]:
    """Give each part's share of the change of the output's log-probability, in nats; they add up to the change.

    >>> shares = shared_out(np.zeros(3), np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]), output=0)
    >>> shares.round(3)
    array([ 0.699, -1.008])
    >>> bool(np.isclose(shares.sum(), log_probability(np.array([1.0, 0.0, 2.0]), 0) - np.log(1 / 3)))
    True
    """
    moves = moves.astype(np.float64)
    places, widths = np.polynomial.legendre.leggauss(_NUM_POINTS)
    on_the_way = logits + (places[:, None] + 1) / 2 * moves.sum(axis=0)
    mean_probabilities = widths / 2 @ softmax(on_the_way, axis=1)
    return moves[:, output] - moves @ mean_probabilities


def above_mean(moves: Float[np.ndarray, "parts outputs"], output: int) -> Float64[np.ndarray, " parts"]:
    """Give what each part adds to the output's logit, less what it adds to all outputs on average.

    >>> above_mean(np.array([[3.0, 0.0, 0.0]]), output=0)
    array([2.])
    """
    moves = moves.astype(np.float64)
    return moves[:, output] - moves.mean(axis=1)


def log_probability(logits: Float[np.ndarray, " outputs"], output: int) -> float:
    """Give the output's log-probability, in nats.

    >>> round(log_probability(np.zeros(2), 1), 3)
    -0.693
    """
    return float(log_softmax(logits.astype(np.float64))[output])
