"""The activation diagram: where every dimension of the states lies and how far it spreads, over sentences.

Rudman, Chen & Eickhoff 2023 (2310.17715), figures of averaged activations: the validation sentences' states are
averaged over seeds, sentence by sentence, and drawn against the dimension. How the figures average over sentences
was not published; ours give mean, standard deviation and the 5 % and 95 % quantiles.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float

from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.result import Array, Number, Result

STATISTICS = ("mean", "standard deviation", "5 % quantile", "95 % quantile")


class ActivationProfile(Method):
    """Mean and spread of every dimension over sentences."""

    sources = ("Rudman, Chen & Eickhoff 2023 (2310.17715), activation diagrams",)

    split: Literal["train", "validation"] = "validation"
    """Sentences to look at."""
    site: str = "final"
    """Where in the network."""
    pooling: Literal["auto", "first", "last", "mean"] = "auto"
    """Which state stands for a sentence; auto: the first token's in encoders, the last real token's in decoders."""

    def run(self, bench: Bench) -> Result:
        """Draw up the profile of one bench."""
        values = profile(bench.states(self.split, self.site, self.pooling))
        farthest, widest = (int(np.abs(row).argmax()) for row in values[:2])
        numbers = [
            Number(name="farthest_mean_dim", value=farthest, unit="index"),
            Number(name="farthest_mean", value=float(values[0, farthest])),
            Number(name="widest_spread_dim", value=widest, unit="index"),
            Number(name="widest_spread", value=float(values[1, widest])),
        ]
        return Result(numbers=numbers, arrays={"profile": as_array(values)})


def profile(states: Float[np.ndarray, "sentences dims"]) -> Float[np.ndarray, "statistics dims"]:
    """Give the `STATISTICS` of every dimension over sentences.

    >>> profile(np.array([[1.0], [3.0]]))[:2, 0].tolist()
    [2.0, 1.0]
    """
    exact = states.astype(np.float64)
    return np.stack([exact.mean(0), exact.std(0), *np.quantile(exact, [0.05, 0.95], axis=0)])


def as_array(values: Float[np.ndarray, "statistics dims"]) -> Array:
    """Name the axes of a profile."""
    return Array(values, ("statistic", "dim"), ticks={"statistic": STATISTICS})
