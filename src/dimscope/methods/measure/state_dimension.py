"""How many dimensions the sentence states really fill, layer by layer: four estimates, beside two controls.

Two look at neighbors, and count the dimensions of the curved surface on which states lie: TwoNN (Facco et al. 2017,
1803.06992) and maximum likelihood (Levina & Bickel 2004, equation 8, averaged as MacKay & Ghahramani 2005 do). Two look
at the covariance, and count the flat directions that hold the variance: the participation ratio of its eigenvalues
(Gao et al. 2017, bioRxiv 214262) and the principal components that hold 90 %. Estimates from neighbors fall short
in many dimensions, and all depend on the number of sentences; so the same is done to Gaussian states of the same
covariance and to states whose dimensions are shuffled. We differ from the sources in that equal states count once where
neighbors are asked for, and in the intervals (`dimscope.numerics.halves`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Number, Result
from dimscope.models.site_patterns import sites_matching
from dimscope.numerics.clouds import gaussian_like, shuffled_dims
from dimscope.numerics.halves import halves_interval
from dimscope.numerics.local_dimension import maximum_likelihood, two_nn
from dimscope.numerics.neighbors import Neighbors, distinct
from dimscope.numerics.outliers import participation_ratio
from dimscope.numerics.spectrum import components_holding, spectrum

States = Float[np.ndarray, "sentences dims"]
Rows = Int[np.ndarray, " rows"]

LOCAL = ("TwoNN", "maximum likelihood")
GLOBAL = ("participation ratio", "principal components")


class StateDimension(Method):
    """The dimension of the sentence states at every layer."""

    sources = (
        "Facco, d'Errico, Rodriguez & Laio 2017 (1803.06992), two-NN estimator",
        "Levina & Bickel 2004 (NIPS 17), equation 8, with MacKay & Ghahramani 2005",
        "Gao et al. 2017 (bioRxiv 214262), participation ratio",
    )

    discarded_fraction: float = Field(0.1, gt=0, lt=0.9)
    """TwoNN leaves out this fraction of the sentences, those whose second neighbor is farthest against the first."""
    smallest_neighborhood: int = Field(10, ge=2)
    """Maximum likelihood averages over neighborhoods of at least so many neighbors."""
    largest_neighborhood: int = Field(20, ge=2)
    """Maximum likelihood averages over neighborhoods of at most so many neighbors."""
    share: float = Field(0.9, gt=0, le=1)
    """Principal components are counted until they hold this share of the variance."""
    num_splits: int = Field(20, ge=2)
    """Random splits of the sentences into halves, behind the intervals."""
    split: Literal["train", "validation"] = "train"
    """Sentences to measure on."""
    sites: tuple[str, ...] = ("layers.*.out", "final")
    """Where in the network; a pattern such as 'layers.*.out' stands for every layer."""
    pooling: Literal["auto", "first", "last", "mean"] = "auto"
    """Which state stands for a sentence; auto: the first token's in encoders, the last real token's in decoders."""

    def run(self, bench: Bench) -> Result:
        """Estimate at every site that was asked for, and the same of the controls.

        Raises:
            UserError: the largest neighborhood is smaller than the smallest.
        """
        if self.largest_neighborhood < self.smallest_neighborhood:
            raise UserError(
                f"wanted a largest neighborhood of at least the smallest, {self.smallest_neighborhood} neighbors;"
                f" got {self.largest_neighborhood}: give --largest-neighborhood too"
            )
        sites = sites_matching(self.sites, bench.network.sites.names)
        states = bench.states_at(self.split, sites, self.pooling)
        numbers: list[Number] = []
        with work("state dimensions", 3 * len(sites)) as done:
            for site in sites:
                for name, cloud in self._clouds(states[site], site, bench.seed).items():
                    rng = seeds.stream(bench.seed, f"halves/{site}/{name}")
                    numbers += Result(numbers=self.describe(cloud, rng)).at({"site": site, "states": name}).numbers
                    done(1)
        return Result(numbers=numbers, notes=self._notes(numbers))

    def _clouds(self, states: States, site: str, seed: int) -> dict[str, States]:
        return {
            "measured": states,
            "Gaussian of the same covariance": gaussian_like(states, seeds.stream(seed, f"gaussian/{site}")),
            "shuffled dims": shuffled_dims(states, seeds.stream(seed, f"shuffled dims/{site}")),
        }

    def describe(self, states: States, rng: np.random.Generator) -> list[Number]:
        """Give all estimates of one cloud; those from neighbors are nan where too few states differ."""
        different = distinct(states)
        return [
            Number(name="num_repeated_states", value=len(states) - len(different), unit="sentences"),
            *self._local(different, rng),
            *self._global(states, rng),
        ]

    def _local(self, states: States, rng: np.random.Generator) -> list[Number]:
        if len(states) < self._fewest:
            return [_number(estimator, float("nan")) for estimator in LOCAL]
        # In a half, about every second neighbor is present; the chance that too few of these are is below 1e-6.
        neighbors = Neighbors.of(states, 4 * self.largest_neighborhood + 20)

        def dimensions(rows: Rows) -> Float[np.ndarray, " estimators"]:
            distances = neighbors.among(rows, self.largest_neighborhood)
            likely = maximum_likelihood(distances, self.smallest_neighborhood, self.largest_neighborhood)
            return np.array([two_nn(distances, self.discarded_fraction), likely])

        intervals = halves_interval(dimensions, len(states), rng, self.num_splits)
        return [_number(estimator, *each) for estimator, *each in zip(LOCAL, *intervals, strict=True)]

    def _global(self, states: States, rng: np.random.Generator) -> list[Number]:
        def dimensions(rows: Rows) -> Float[np.ndarray, " estimators"]:
            eigenvalues = spectrum(states[rows])
            return np.array([participation_ratio(eigenvalues), components_holding(self.share, eigenvalues)])

        intervals = halves_interval(dimensions, len(states), rng, self.num_splits)
        return [_number(estimator, *each) for estimator, *each in zip(GLOBAL, *intervals, strict=True)]

    @property
    def _fewest(self) -> int:
        """So many that every state of a half has its neighbors within that half."""
        return 2 * (self.largest_neighborhood + 1)

    def _notes(self, numbers: list[Number]) -> list[str]:
        without = {number.where["site"] for number in numbers if np.isnan(number.value)}
        if not without:
            return []
        return [
            f"Fewer than {self._fewest} sentences have states of their own at {', '.join(map(str, sorted(without)))},"
            " so there is no estimate from neighbors."
        ]


def _number(estimator: str, value: float, low: float = float("nan"), high: float = float("nan")) -> Number:
    interval = None if np.isnan(low) else (float(low), float(high))
    return Number(name="state_dimension", value=value, unit="dims", interval=interval, where={"estimator": estimator})
