"""Vectors as a weighted sum of other vectors: one scalar weight for each source, and a vector as intercept.

y_i ≈ Σ_s α_s x_is + β over prompts i, by least squares. β takes up all that does not vary, so α is found on the
deviations from the means. Every source is scaled to length 1 first: the ridge (Hoerl & Kennard 1970, Technometrics
12(1):55) is then a share of each source's own size, and the condition number that of Belsley, Kuh & Welsch 1980,
section 3.2, to whom 30 and more is collinear; ours is of the deviations, since the intercept is a vector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy.stats import t

from dimscope.core.errors import UserError

COLLINEAR = 30.0
"""From this condition number on, single weights are not to be trusted: others would fit as well."""
RIDGE = 1e-6
_CONSTANT = 1e-12  # of the largest source: what varies less does not vary

Outputs = Float[np.ndarray, "prompts dims"]
Sources = Float[np.ndarray, "prompts sources dims"]


@dataclass(frozen=True, eq=False)
class Reweighting:
    """The weight of every source, what is given whatever the sources are, and how nearly the sources are collinear."""

    weights: Float64[np.ndarray, " sources"]
    intercept: Float64[np.ndarray, " dims"]
    condition_number: float

    @classmethod
    def of(cls, outputs: Outputs, sources: Sources, ridge: float = RIDGE) -> Self:
        """Fit them; a source that does not vary gets the weight 0, being part of the intercept.

        >>> sources = np.random.default_rng(0).normal(size=(9, 2, 3))
        >>> fitted = Reweighting.of(-sources[:, 0] + [0, 5, 0], sources)
        >>> fitted.weights.round(3) + 0.0, fitted.intercept.round(3) + 0.0
        (array([-1.,  0.]), array([0., 5., 0.]))

        Raises:
            UserError: there are fewer than two prompts, or the ridge is not above 0.
        """
        if len(outputs) < 2 or not ridge > 0:
            raise UserError(f"wanted two prompts at least and a ridge above 0, got {len(outputs)} and {ridge}")
        mean, means = (each.mean(axis=0, dtype=np.float64) for each in (outputs, sources))
        moved = np.moveaxis(sources - means, 1, -1).reshape(-1, sources.shape[1])
        lengths = np.linalg.norm(moved, axis=0)
        varies = lengths > _CONSTANT * lengths.max(initial=0)
        units = moved[:, varies] / lengths[varies]
        variances, axes = np.linalg.eigh(units.T @ units)
        along = axes.T @ (units.T @ (outputs - mean).ravel())
        weights = np.zeros(len(lengths))
        weights[varies] = axes @ (along / (variances + ridge)) / lengths[varies]
        return cls(weights, mean - weights @ means, _condition_number(variances))

    def predict(self, sources: Sources) -> Float64[np.ndarray, "prompts dims"]:
        """Give what the sources make of the outputs."""
        return np.einsum("psd,s->pd", sources, self.weights) + self.intercept


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Each group's outputs as fitted without that group, and the weights of each of those fits.

    `means` is what predicts without sources: the mean output of all other groups.
    """

    predicted: Float64[np.ndarray, "prompts dims"]
    means: Float64[np.ndarray, "prompts dims"]
    intercepts: Float64[np.ndarray, "prompts dims"]
    weights: Float64[np.ndarray, "groups sources"]


def hold_out(outputs: Outputs, sources: Sources, groups: Int[np.ndarray, " prompts"], ridge: float = RIDGE) -> HeldOut:
    """Leave one group of prompts out after the other, such as all that name one country.

    Raises:
        UserError: there are fewer than three groups.
    """
    if len(np.unique(groups)) < 3:
        raise UserError(f"wanted three groups of prompts at least, to leave one out, got {len(np.unique(groups))}")
    predicted, means, intercepts = (np.empty(outputs.shape, np.float64) for _ in range(3))
    weights = []
    for is_out in _each(groups):
        fitted = Reweighting.of(outputs[~is_out], sources[~is_out], ridge)
        predicted[is_out] = fitted.predict(sources[is_out])
        means[is_out] = outputs[~is_out].mean(axis=0, dtype=np.float64)
        intercepts[is_out] = fitted.intercept
        weights.append(fitted.weights)
    return HeldOut(predicted, means, intercepts, np.stack(weights))


def jackknife_margin(weights: Float[np.ndarray, "groups sources"]) -> Float64[np.ndarray, " sources"]:
    """Give how far each weight's 95 % interval reaches to either side, by what leaving one group out changes.

    Efron & Tibshirani 1993, An Introduction to the Bootstrap, equation 11.5, with Student's quantile.

    >>> jackknife_margin(np.array([[1.0], [1.0], [1.0]])).tolist()
    [0.0]
    """
    num_groups = len(weights)
    return np.asarray(t.ppf(0.975, num_groups - 1) * np.sqrt((num_groups - 1) * np.var(weights, axis=0)))


def squared_errors(
    outputs: Outputs, predicted: Outputs, means: Outputs, groups: Int[np.ndarray, " prompts"]
) -> Float64[np.ndarray, "groups two"]:
    """Give for each group the squared distance of its outputs from what was predicted, and from the means."""
    both = np.stack([np.square(outputs - each).sum(axis=1, dtype=np.float64) for each in (predicted, means)], axis=1)
    return np.stack([both[is_own].sum(axis=0) for is_own in _each(groups)])


def r2_score(errors: Float[np.ndarray, "groups two"]) -> float:
    """Give the share of the squared distance from the means that the prediction explains; nan if there is none.

    >>> r2_score(np.array([[1.0, 4.0], [0.0, 4.0]]))
    0.875
    """
    predicted, constant = errors.sum(axis=0)
    return float(1 - predicted / constant) if constant > 0 else math.nan


def cosines(ones: Outputs, others: Outputs) -> Float64[np.ndarray, " prompts"]:
    """Give each pair's cosine; 0 where one of the two is the zero vector.

    >>> cosines(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[2.0, 0.0], [1.0, 1.0]])).tolist()
    [1.0, 0.0]
    """
    lengths = np.linalg.norm(ones, axis=1) * np.linalg.norm(others, axis=1)
    products = np.einsum("pd,pd->p", ones, others, dtype=np.float64)
    return np.divide(products, lengths, out=np.zeros(len(ones)), where=lengths > 0)


def _condition_number(variances: Float[np.ndarray, " sources"]) -> float:
    if not len(variances) or variances[0] <= 0:
        return math.inf
    return float(np.sqrt(variances[-1] / variances[0]))


def _each(groups: Int[np.ndarray, " prompts"]) -> Iterator[Bool[np.ndarray, " prompts"]]:
    for group in np.unique(groups):
        yield groups == group
