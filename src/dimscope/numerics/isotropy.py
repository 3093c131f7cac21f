"""Whether states spread evenly over all directions: three scores of how isotropic they are.

IsoScore (Rudman, Gillman, Rayne & Eickhoff 2022, 2108.07344, algorithm 1): the n eigenvalues λ of the covariance
are scaled to length √n; their distance from (1, …, 1) over √(2(n − √n)) is the defect δ; the score is
((n − δ²(n − √n))² − n) / (n(n − 1)). The square of the distance is 2n − 2√n Σλ / ‖λ‖, so what stands in the square is
√n Σλ / ‖λ‖, and the whole is (r − 1) / (n − 1) with the participation ratio r = (Σλ)² / Σλ². So we compute it.

Mean cosine (Ethayarajh 2019, 1909.00512, section 3.4): over random pairs there, over all pairs here, as all cosines
of unit vectors u together are |Σ u|².

Partition score (Mu & Viswanath 2018, 1702.01417, its measure of isotropy): the smallest over the largest of
Z(c) = Σ exp(c · v), c the eigenvectors of VᵀV. They are the *columns* that an eigensolver gives; public code that goes
over rows takes other directions. An eigenvector has no sign, so we take both, which makes the score one number.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.special import logsumexp

from dimscope.core.errors import UserError
from dimscope.numerics.outliers import participation_ratio

States = Float[np.ndarray, "states dims"]


def iso_score(eigenvalues: Float[np.ndarray, " dims"]) -> float:
    """Give IsoScore from the eigenvalues of the covariance: 0 for a line, 1 for equal variance in every direction.

    It does not depend on rotation or scale, and is nan if nothing varies or there is but one dimension.

    >>> iso_score(np.array([2.0, 2.0, 2.0, 0.0, 0.0]))
    0.5
    """
    if len(eigenvalues) < 2:
        return float("nan")
    return (participation_ratio(eigenvalues) - 1) / (len(eigenvalues) - 1)


def mean_cosine(states: States) -> float:
    """Give the mean cosine over all pairs of different states: 0 if they point everywhere, 1 if all point one way.

    Raises:
        UserError: a state is 0 and points nowhere.

    >>> mean_cosine(np.array([[2.0, 0.0], [5.0, 0.0], [0.0, 1.0]]))
    0.333...
    """
    length = np.linalg.norm(states.astype(np.float64), axis=1, keepdims=True)
    if not length.all():
        raise UserError("a state is 0 in every dimension, so that it has no cosine with others: take another site")
    units = states / length
    num_ordered_pairs = len(units) * (len(units) - 1)
    return float((np.square(units.sum(axis=0)).sum() - len(units)) / num_ordered_pairs)


def log_partition_score(states: States) -> float:
    """Give the natural logarithm of the partition score: 0 if Z is the same in all directions.

    Z is an exponential of the states, so the score depends on their scale; compare it with a control of the same scale.
    States of norm 30 and more give scores too small for a number, which their logarithms are not.

    >>> log_partition_score(np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0], [0.0, -3.0]]))
    0.0
    """
    exact = states.astype(np.float64)
    _, eigenvectors = eigh(exact.T @ exact)
    along = exact @ eigenvectors  # [states, eigenvectors]
    log_partition = logsumexp(np.concatenate([along, -along], axis=1), axis=0)
    return float(log_partition.min() - log_partition.max())
