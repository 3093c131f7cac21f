"""Which dimensions of the states vary far more than the others: variance, outlier set, principal outlier ρ.

Dimension j is an outlier if Var_j ≥ factor · mean_i Var_i, and ρ = argmax_j Var_j (Rudman, Chen & Eickhoff 2023,
2310.17715, section 3; factor 5, population variance). Beside it stand dimensions that are outliers in another sense:
their mean is far from those of the others while they hardly vary. We differ from the public code in that a sentence's
state is that of its own last real token, and that everything is taken in one pass in constant memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.result import Array, Number, Result
from dimscope.models.site_patterns import sites_matching
from dimscope.numerics.moments import Moments
from dimscope.numerics.outliers import (
    constant_mean_dims,
    outlier_dims,
    participation_ratio,
    principal_dim,
    variance_share,
)

Place = tuple[str, str]
"""A site and which token's state: 'pooled', or 'first' and 'others'."""


class OutlierDimensions(Method):
    """Variance of every dimension, and what stands out."""

    sources = ("Rudman, Chen & Eickhoff 2023 (2310.17715), section 3",)

    factor: float = Field(5.0, gt=1)
    """A dimension is an outlier if its variance is at least this many times the mean variance."""
    mean_sigmas: float = Field(6.0, gt=0)
    """A mean stands out if it is this many robust standard deviations from the median of all means."""
    split: Literal["train", "validation"] = "train"
    """Sentences to measure on."""
    sites: tuple[str, ...] = ("final",)
    """Where in the network; patterns such as 'layers.*.out' stand for every layer."""
    pooling: Literal["auto", "first", "last", "mean"] = "auto"
    """Which state stands for a sentence; auto: the first token's in encoders, the last real token's in decoders."""
    tokens: Literal["pooled", "all"] = "pooled"
    """Measure sentence states, or the states of all tokens, with the first token apart from the others."""

    def run(self, bench: Bench) -> Result:
        """Measure at every site that was asked for."""
        sites = sites_matching(self.sites, bench.network.sites.names)
        moments = self._of_tokens(bench, sites) if self.tokens == "all" else self._of_sentences(bench, sites)
        numbers = [
            replace(number, where={"site": site, "token": token})
            for (site, token), each in moments.items()
            for number in describe(each, self.factor, self.mean_sigmas)
        ]
        return Result(numbers=numbers, arrays=self._arrays(moments), notes=_notes(moments, self.factor))

    def _of_sentences(self, bench: Bench, sites: list[str]) -> dict[Place, Moments]:
        states = bench.states_at(self.split, sites, self.pooling)
        return {(site, "pooled"): Moments.of(states[site]) for site in sites}

    def _of_tokens(self, bench: Bench, sites: list[str]) -> dict[Place, Moments]:
        moments = {(site, token): Moments() for site in sites for token in ("first", "others")}
        for states, mask in bench.token_states(self.split, sites):
            is_first = (mask.cumsum(axis=1) == 1) & (mask == 1)
            for site in sites:
                moments[site, "first"].update(states[site][is_first])
                moments[site, "others"].update(states[site][(mask == 1) & ~is_first])
        return moments

    def _arrays(self, moments: dict[Place, Moments]) -> dict[str, Array]:
        sites, tokens = (list(dict.fromkeys(names)) for names in zip(*moments, strict=True))

        def laid_out(of_dims: Callable[[Moments], np.ndarray]) -> Array:
            values = np.stack([np.stack([of_dims(moments[site, token]) for token in tokens]) for site in sites])
            return Array(values, ("site", "token", "dim"), ticks={"site": sites, "token": tokens})

        return {
            "variance": laid_out(lambda each: each.variance),
            "mean": laid_out(lambda each: each.mean),
            "skew": laid_out(lambda each: each.skew),
            "kurtosis": laid_out(lambda each: each.kurtosis),
            "is_outlier": laid_out(lambda each: _member(outlier_dims(each.variance, self.factor), each)),
            "is_constant_mean_outlier": laid_out(
                lambda each: _member(constant_mean_dims(each.mean, self.mean_sigmas), each)
            ),
        }


def describe(moments: Moments, factor: float, mean_sigmas: float) -> list[Number]:
    """Count and weigh what stands out; ρ is the principal dimension, that of the largest variance."""
    variance, principal = moments.variance, principal_dim(moments.variance)
    outliers = outlier_dims(variance, factor)
    return [
        Number(name="num_outlier_dims", value=len(outliers), unit="dims"),
        Number(name="outlier_variance_fraction", value=variance_share(variance, outliers)),
        Number(name="principal_dim", value=principal, unit="index"),
        Number(
            name="principal_variance_ratio",
            value=float(variance[principal] / variance.mean()),
            unit="x mean variance",
        ),
        Number(name="principal_variance_fraction", value=variance_share(variance, np.array([principal]))),
        Number(name="principal_skew", value=float(moments.skew[principal])),
        Number(name="principal_kurtosis", value=float(moments.kurtosis[principal])),
        Number(name="mean_variance", value=float(variance.mean())),
        Number(name="participation_ratio", value=participation_ratio(variance), unit="dims"),
        Number(
            name="num_constant_mean_dims",
            value=len(constant_mean_dims(moments.mean, mean_sigmas)),
            unit="dims",
        ),
    ]


def _member(dims: np.ndarray, moments: Moments) -> np.ndarray:
    return np.isin(np.arange(len(moments.mean)), dims)


def _notes(moments: dict[Place, Moments], factor: float) -> list[str]:
    num_dims = len(next(iter(moments.values())).mean)
    too_few = f"With {num_dims} dimensions none can reach {factor:g} times the mean variance: no outlier is possible."
    return [too_few] if num_dims < factor else []
