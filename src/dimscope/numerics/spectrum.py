"""The eigenvalues of the covariance of states, and how many principal components hold most of the variance.

Of states that are fewer than their dimensions the covariance has the eigenvalues of the smaller matrix of their
products, and zeros (Jolliffe 2002, Principal Component Analysis, section 3.5).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dimscope.numerics.finite import require_finite

ROUNDING = 1e-12
"""A share that is missed by this fraction or less is reached."""

Eigenvalues = Float[np.ndarray, " dims"]


def spectrum(states: Float[np.ndarray, "states dims"]) -> Eigenvalues:
    """Give the eigenvalues of the population covariance, largest first, in the unit of the states squared.

    Raises:
        UserError: a state is not finite.

    >>> spectrum(np.array([[3.0, 3.0], [1.0, 1.0]]))
    array([2., 0.])
    """
    require_finite(states, "states")
    num_states, num_dims = states.shape
    deviations = states - states.mean(axis=0, dtype=np.float64)
    products = deviations.T @ deviations if num_dims <= num_states else deviations @ deviations.T
    eigenvalues = np.zeros(num_dims)
    eigenvalues[: len(products)] = np.linalg.eigvalsh(products / num_states)[::-1]
    return np.maximum(eigenvalues, 0)


def components_holding(share: float, eigenvalues: Eigenvalues) -> float:
    """Give the smallest number of principal components that hold this share of the variance, nan if nothing varies.

    >>> components_holding(0.9, np.array([5.0, 4.0, 1.0]))
    2.0
    """
    held = eigenvalues.cumsum()
    if held[-1] == 0:
        return float("nan")
    return float(np.searchsorted(held, share * held[-1] * (1 - ROUNDING)) + 1)
