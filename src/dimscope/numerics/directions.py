"""Directions to hold a single dimension against: most variance, best linear separation, and random ones.

First principal component (Pearson 1901, Phil. Mag. 2(11):559); linear discriminant (Fisher 1936, Ann. Eugen.
7(2):179) with the shrinkage of Ledoit & Wolf 2004 (J. Multivar. Anal. 88(2):365), by scikit-learn;
random directions are uniform on the sphere, as normalized Gaussians (Muller 1959, CACM 2(4):19).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from dimscope.core.errors import UserError
from dimscope.numerics.finite import require_finite

ROWS_AT_ONCE = 4096
"""Rows turned into float64 at a time."""

States = Float[np.ndarray, "sentences dims"]
Direction = Float[np.ndarray, " dims"]


def first_principal_component(states: States) -> Direction:
    """Give the direction of most variance, of length 1, its largest entry positive.

    Raises:
        UserError: there is no state, or one is not finite.

    >>> first_principal_component(np.array([[0.0, 1.0], [0.0, -2.0]]))
    array([0., 1.])
    """
    if states.size == 0:
        raise UserError(f"a principal component needs states, and their shape is {states.shape}")
    require_finite(states, "states")
    last = states.shape[1] - 1
    _, vectors = eigh(_scatter(states), subset_by_index=[last, last])
    return _largest_positive(vectors[:, 0])


def linear_discriminant(states: States, labels: Int[np.ndarray, " sentences"]) -> Direction:
    """Give the direction, of length 1, along which the classes differ most against the spread within them.

    For two classes it points from the lower label to the higher; for more it is the first discriminant, its
    largest entry positive.

    Raises:
        UserError: fewer than two classes came, a state is not finite, or no direction separates the classes.

    >>> states = np.array([[0.0, 1.0], [1.0, 2.0], [8.0, 2.0], [9.0, 1.0]])
    >>> linear_discriminant(states, np.array([0, 0, 1, 1])).round(3)
    array([1., 0.])
    """
    require_finite(states, "states")
    num_classes = len(np.unique(labels))
    if num_classes < 2:
        raise UserError(f"a discriminant needs sentences of at least two classes, and {num_classes} came")
    if num_classes == 2:
        fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(states, labels)
        return _unit(fitted.coef_[0].astype(np.float64))
    fitted = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(states, labels)
    return _largest_positive(_unit(fitted.scalings_[:, 0].astype(np.float64)))


def random_directions(
    num_directions: int, num_dims: int, rng: np.random.Generator
) -> Float[np.ndarray, "directions dims"]:
    """Give directions drawn uniformly from the sphere, each of length 1.

    >>> random_directions(3, 8, np.random.default_rng(0)).shape
    (3, 8)
    """
    gaussian = rng.standard_normal((num_directions, num_dims))
    return gaussian / np.linalg.norm(gaussian, axis=1, keepdims=True)


def _scatter(states: States) -> Float[np.ndarray, "dims dims"]:
    mean = states.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((len(mean), len(mean)))
    for start in range(0, len(states), ROWS_AT_ONCE):
        deviations = states[start : start + ROWS_AT_ONCE] - mean
        scatter += deviations.T @ deviations
    return scatter


def _unit(direction: Direction) -> Direction:
    length = np.linalg.norm(direction)
    if not length > 0:
        raise UserError("no direction separates these classes: are their means equal, or all states the same?")
    return direction / length


def _largest_positive(direction: Direction) -> Direction:
    return direction * np.sign(direction[np.abs(direction).argmax()])
