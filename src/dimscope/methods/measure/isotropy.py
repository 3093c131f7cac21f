"""Whether sentence states spread evenly over all directions: three scores, with and without the outlier dimensions.

IsoScore (Rudman et al. 2022, 2108.07344, algorithm 1), the mean cosine of two sentences' states (Ethayarajh 2019,
1909.00512, section 3.4), and the partition score (Mu & Viswanath 2018, 1702.01417); how we compute them, and where that
differs from the public code, is told in `dimscope.numerics.isotropy`. The control is an isotropic Gaussian with
as many sentences, as many dimensions, and the same mean variance: finitely many sentences never look quite isotropic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Number, Result
from dimscope.models.site_patterns import sites_matching
from dimscope.numerics.clouds import isotropic_like
from dimscope.numerics.halves import halves_interval
from dimscope.numerics.isotropy import iso_score, log_partition_score, mean_cosine
from dimscope.numerics.moments import Moments
from dimscope.numerics.outliers import outlier_dims
from dimscope.numerics.spectrum import spectrum

States = Float[np.ndarray, "sentences dims"]


class Isotropy(Method):
    """IsoScore, mean cosine and partition score of the sentence states."""

    sources = (
        "Rudman, Gillman, Rayne & Eickhoff 2022 (2108.07344), algorithm 1",
        "Ethayarajh 2019 (1909.00512), section 3.4",
        "Mu & Viswanath 2018 (1702.01417), measure of isotropy",
    )

    factor: float = Field(5.0, gt=1)
    """A dimension is an outlier if its variance is at least this many times the mean variance."""
    num_splits: int = Field(20, ge=2)
    """Random splits of the sentences into halves, behind the intervals."""
    split: Literal["train", "validation"] = "train"
    """Sentences to measure on."""
    sites: tuple[str, ...] = ("final",)
    """Where in the network; a pattern such as 'layers.*.out' stands for every layer."""
    pooling: Literal["auto", "first", "last", "mean"] = "auto"
    """Which state stands for a sentence; auto: the first token's in encoders, the last real token's in decoders."""

    def run(self, bench: Bench) -> Result:
        """Score every site that was asked for."""
        sites = sites_matching(self.sites, bench.network.sites.names)
        states = bench.states_at(self.split, sites, self.pooling)
        numbers: list[Number] = []
        with work("isotropy", 4 * len(sites)) as done:
            for site in sites:
                outliers = outlier_dims(Moments.of(states[site]).variance, self.factor)
                numbers.append(Number(name="num_outlier_dims", value=len(outliers), unit="dims", where={"site": site}))
                for place, cloud in self._clouds(states[site], outliers, site, bench.seed):
                    rng = seeds.stream(bench.seed, f"halves/{site}/{place['dims']}/{place['states']}")
                    scores = Result(numbers=describe(cloud, rng, self.num_splits))
                    numbers += scores.at({"site": site, **place}).numbers
                    done(1)
        return Result(numbers=numbers)

    def _clouds(
        self, states: States, outliers: Int[np.ndarray, " outliers"], site: str, seed: int
    ) -> Iterator[tuple[dict[str, str], States]]:
        for dims, kept in {"all": states, "all but outliers": np.delete(states, outliers, axis=1)}.items():
            yield {"dims": dims, "states": "measured"}, kept
            rng = seeds.stream(seed, f"isotropic/{site}/{dims}")
            yield {"dims": dims, "states": "isotropic Gaussian"}, isotropic_like(kept, rng)


def describe(states: States, rng: np.random.Generator, num_splits: int) -> list[Number]:
    """Give the three scores with their intervals, and the logarithm of the third, which is often too small to see."""

    def scores(rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " scores"]:
        chosen = states[rows]
        return np.array([iso_score(spectrum(chosen)), mean_cosine(chosen), log_partition_score(chosen)])

    intervals = halves_interval(scores, len(states), rng, num_splits)
    iso, cosine, log_partition = zip(*intervals, strict=True)
    partition = tuple(np.exp(np.minimum(log_partition, 0)))
    return [
        _number("iso_score", iso),
        _number("mean_cosine", cosine),
        _number("partition_score", partition),
        _number("log_partition_score", log_partition),
    ]


def _number(name: str, value_low_high: tuple[float, ...]) -> Number:
    value, low, high = map(float, value_low_high)
    return Number(name=name, value=value, interval=(low, high))
