"""What is left of the task when dimensions of the states lose what they say about the sentence.

Chosen dimensions are set to zero, to their mean over the training sentences, or to their value in another sentence,
at the final state or after every layer: ρ alone, all outlier dimensions, all but ρ, and as the control as many
random dimensions (many draws). Zero moves a state off the data where a dimension's mean is far from 0; the mean and
another sentence's value do not, and are to be read first. The site 'final' is exact on pooled states; 'every layer'
edits all tokens after each block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field

from dimscope.activations.edits import Constant, Edit, Swap, Value, Zero, edit
from dimscope.activations.heads import classify_states
from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Number, Result
from dimscope.models.classify import classify
from dimscope.numerics.moments import Moments
from dimscope.numerics.outliers import outlier_dims, principal_dim
from dimscope.scoring.classification import accuracy

Fill = Literal["zero", "mean", "resample"]
Place = Literal["final", "every layer"]
Dims = Int[np.ndarray, " chosen"]
Ablation = Callable[[Dims, Fill, np.random.Generator], Bool[np.ndarray, " sentences"]]
"""Takes out dimensions and tells which sentences are still classified rightly."""


class AblateDimensions(Method):
    """Accuracy after taking out ρ, all outliers, all but ρ, and as many random dimensions."""

    sources = ("after Rudman, Chen & Eickhoff 2023 (2310.17715) and Kovaleva et al. 2021 (2105.06990)",)

    dims: tuple[int, ...] | None = None
    """Dimensions to take out besides ρ and the outliers."""
    factor: float = Field(5.0, gt=1)
    """A dimension is an outlier if its variance is at least this many times the mean variance."""
    fills: tuple[Fill, ...] = ("mean", "resample", "zero")
    """What takes their place: their mean, another sentence's value, zero."""
    places: tuple[Place, ...] = ("final", "every layer")
    """Where they are taken out."""
    num_draws: int = Field(20, ge=1)
    """Draws of random dimensions at the final state."""
    num_layer_draws: int = Field(5, ge=1)
    """Draws of random dimensions after every layer, each a forward pass."""
    max_layer_sentences: int = Field(256, ge=1)
    """Validation sentences that go through the network for 'every layer'; the first of a fixed random order."""

    def run(self, bench: Bench) -> Result:
        """Take out one group after the other, always starting from the whole model.

        Raises:
            UserError: the bench has no checkpoint, or a chosen dimension does not exist.
        """
        if bench.checkpoint is None:
            raise UserError(
                "ablation asks what a fine-tuned classifier loses, and this bench has no checkpoint: give one"
            )
        variance = bench.states("train").var(axis=0, dtype=np.float64)
        named = self._named_groups(variance)
        numbers: list[Number] = []
        with work("ablations", len(self.places) * len(self.fills) * 2 * len(named)) as done:
            for place in self.places:
                ablate = at_final(bench) if place == "final" else at_every_layer(bench, self.max_layer_sentences)
                nothing = ablate(np.empty(0, np.int64), "zero", seeds.stream(bench.seed, "unused"))
                numbers.append(accuracy(nothing, ablated="nothing", fill="none", place=place))
                num_draws = self.num_draws if place == "final" else self.num_layer_draws
                for fill in self.fills:
                    rng = seeds.stream(bench.seed, f"ablation/{place}/{fill}")
                    for name, dims in named.items():
                        where = {"fill": fill, "place": place}
                        numbers.append(accuracy(ablate(dims, fill, rng), ablated=name, **where))
                        draws = [ablate(_others(dims, len(variance), rng), fill, rng).mean() for _ in range(num_draws)]
                        numbers.append(_control(np.array(draws), {"ablated": f"random, as many as {name}", **where}))
                        done(2)
        return Result(numbers=numbers, notes=self._notes(named))

    def _named_groups(self, variance: Float[np.ndarray, " dims"]) -> dict[str, Dims]:
        principal, outliers = principal_dim(variance), outlier_dims(variance, self.factor)
        groups = {
            "principal dimension": np.array([principal]),
            "all but principal dimension": np.delete(np.arange(len(variance)), principal),
        }
        if len(outliers):
            groups["outlier dimensions"] = outliers
        if self.dims:
            groups["chosen dimensions"] = np.array(sorted(set(self.dims)))
            if not 0 <= min(self.dims) <= max(self.dims) < len(variance):
                raise UserError(f"the states have the dimensions 0 to {len(variance) - 1}; {self.dims} were chosen")
        return groups

    def _notes(self, groups: Mapping[str, Dims]) -> list[str]:
        if "outlier dimensions" in groups:
            return []
        return [
            f"No dimension reaches {self.factor:g} times the mean variance, so there was no outlier set to take out."
        ]


def at_final(bench: Bench) -> Ablation:
    """Ablate the state that the classifier reads; the head alone is computed again."""
    states, labels, network = bench.states("validation"), bench.labels("validation"), bench.network
    mean = bench.states("train").mean(axis=0)

    def ablate(dims: Dims, fill: Fill, rng: np.random.Generator) -> np.ndarray:
        ablated = states.copy()
        if fill == "resample":
            ablated[:, dims] = states[rng.permutation(len(states))][:, dims]
        else:
            ablated[:, dims] = mean[dims] if fill == "mean" else 0
        return classify_states(network, ablated).argmax(axis=1) == labels

    return ablate


def at_every_layer(bench: Bench, max_sentences: int) -> Ablation:
    """Ablate all tokens' states after every block, for the first sentences of the validation split.

    The mean is that of all real tokens of as many training sentences, layer by layer; another sentence is one of the
    same batch, token by token.
    """
    network, labels = bench.network, bench.labels("validation")[:max_sentences]
    sites = [f"layers.{layer}.out" for layer in range(network.num_layers)]
    means = _token_means(bench, sites, max_sentences)

    def edits(dims: Dims, fill: Fill, num_sentences: int, rng: np.random.Generator) -> Iterator[Edit]:
        order = np.roll(np.arange(num_sentences), rng.integers(1, max(num_sentences, 2)))
        for site in sites:
            values: dict[Fill, Value] = {"zero": Zero(), "mean": Constant(means[site]), "resample": Swap(order)}
            yield Edit(site, values[fill], dims=dims.tolist())

    @torch.inference_mode()
    def ablate(dims: Dims, fill: Fill, rng: np.random.Generator) -> np.ndarray:
        is_right = np.empty(len(labels), bool)
        for indices, batch in bench.batches("validation", max_sentences):
            with edit(network, list(edits(dims, fill, len(indices), rng))):
                is_right[indices] = classify(network, batch).argmax(dim=1).cpu().numpy() == labels[indices]
        return is_right

    return ablate


def _token_means(bench: Bench, sites: list[str], max_sentences: int) -> dict[str, Float[np.ndarray, " dims"]]:
    moments = {site: Moments() for site in sites}
    for states, mask in bench.token_states("train", sites, max_sentences):
        for site in sites:
            moments[site].update(states[site][mask.astype(bool)])
    return {site: each.mean for site, each in moments.items()}


def _others(dims: Dims, num_dims: int, rng: np.random.Generator) -> Dims:
    """As many random dimensions, whichever they are."""
    return rng.choice(num_dims, size=len(dims), replace=False)


def _control(draws: Float[np.ndarray, " draws"], where: Mapping[str, str]) -> Number:
    """The mean over draws, with the interval that holds 95 % of them."""
    low, high = (float(each) for each in np.quantile(draws, [0.025, 0.975]))
    return Number(name="accuracy", value=float(draws.mean()), better="higher", interval=(low, high), where=where)
