"""The dimension of the surface on which points lie, from how fast their neighbors grow farther.

TwoNN (Facco, d'Errico, Rodriguez & Laio 2017, 1803.06992, the algorithm of the section on the two-NN estimator): the
ratio μ of the second neighbor's distance to the first's has the distribution 1 − μ^−d, so −log(1 − F(μ)) over log μ
is a line through the origin of slope d. We fit it by least squares as they do, with F = i / points.

Maximum likelihood (Levina & Bickel 2004, NIPS 17, equation 8): the log ratios of the k-th neighbor's distance to the
nearer ones' have the mean 1 / d. We average these over points and then invert, as MacKay & Ghahramani 2005 (comment on
Levina & Bickel) derive from the likelihood; Levina & Bickel average the inverses, which is biased upward for small k.
Over k we average the dimensions, as they do.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Distances = Float[np.ndarray, "points neighbors"]


def two_nn(distances: Distances, discarded_fraction: float = 0.1) -> float:
    """Give the dimension by the line's slope, without the largest ratios; infinite if all neighbors are equally far.

    >>> second = np.array([0.75, 0.5, 0.25, 0.01]) ** -0.5
    >>> round(two_nn(np.stack([np.ones(4), second], axis=1), discarded_fraction=0.25), 9)
    2.0
    """
    num_points = len(distances)
    num_kept = int(num_points * (1 - discarded_fraction))
    log_ratio = np.sort(np.log(distances[:, 1] / distances[:, 0]))[:num_kept]
    log_exceeding = -np.log1p(-np.arange(1, num_kept + 1) / num_points)
    return float(log_ratio @ log_exceeding / (log_ratio @ log_ratio)) if log_ratio.any() else float("inf")


def maximum_likelihood(distances: Distances, smallest: int = 10, largest: int = 20) -> float:
    """Give the dimension by the likelihood, the mean over neighborhoods of `smallest` to `largest` neighbors.

    >>> round(maximum_likelihood(np.exp([[0.0, 0.25], [0.0, 0.75]]), smallest=2, largest=2), 9)
    2.0
    """
    log_distance = np.log(distances)
    k = np.arange(smallest, largest + 1)
    log_of_nearer = log_distance.cumsum(axis=1)[:, k - 2] / (k - 1)
    inverse = (log_distance[:, k - 1] - log_of_nearer).mean(axis=0)
    return float((1 / inverse).mean())
