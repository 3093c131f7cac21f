"""Random states to hold measured ones against: as many, and alike in all but one respect."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

States = Float[np.ndarray, "states dims"]


def gaussian_like(states: States, rng: np.random.Generator) -> States:
    """Draw Gaussian states of the same mean and population covariance: what is left has no other shape.

    >>> gaussian_like(np.array([[1.0, 7.0], [3.0, 7.0]]), np.random.default_rng(0))[:, 1]
    array([7., 7.])
    """
    mean = states.mean(axis=0, dtype=np.float64)
    deviations = states - mean
    variances, axes = eigh(deviations.T @ deviations / len(states))
    return mean + (rng.standard_normal(states.shape) * np.sqrt(np.maximum(variances, 0))) @ axes.T


def isotropic_like(states: States, rng: np.random.Generator) -> States:
    """Draw Gaussian states of mean 0, every dimension with the mean variance of the given ones.

    >>> isotropic_like(np.zeros((3, 2)), np.random.default_rng(0)).shape
    (3, 2)
    """
    mean_variance = states.var(axis=0, dtype=np.float64).mean()
    return np.sqrt(mean_variance) * rng.standard_normal(states.shape)


def shuffled_dims(states: States, rng: np.random.Generator) -> States:
    """Give every dimension its own values in an order of its own: the dimensions are as before, and independent.

    >>> sorted(shuffled_dims(np.array([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]), np.random.default_rng(0))[:, 1].tolist())
    [4.0, 5.0, 6.0]
    """
    return rng.permuted(states, axis=0)
