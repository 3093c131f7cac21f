"""Where in the network a dimension of the sentence state is written: the share of every head and MLP in its variance.

The dimension is a sum over what the embedding, every head, every MLP and the norms' own biases write into the stream,
once the norms' scales are held (`dimscope.activations.direct_paths`; Elhage et al. 2021, "A Mathematical Framework for
Transformer Circuits", take the logits apart so). A part's share in the dimension's variance over sentences is
cov(part, dimension) / var(dimension), and its share in what tells the classes apart the same of the classes' means;
both add up to 1 over all parts. Rudman, Chen & Eickhoff 2023 (2310.17715) ask which dimension decides, and not where it
comes from. What a part does through later ones is not in its share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from dimscope.activations.direct_paths import written
from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.result import Array, Number, Result
from dimscope.numerics.outliers import principal_dim
from dimscope.numerics.resampling import mean_interval

_AXES = {"embedding": (), "heads": ("layer", "head"), "attention_bias": ("layer",), "mlp": ("layer",), "norms": ()}
_LARGEST_ERROR = 1e-3  # of the dimension's standard deviation
Shares = Float[np.ndarray, "dims *places"]


class DimensionWriters(Method):
    """The share of every head and MLP in what a dimension of the sentence state says, beside other dimensions."""

    sources = (
        "direct paths: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits, transformer-circuits.pub",
        "the dimension that varies most: Rudman, Chen & Eickhoff 2023 (2310.17715), section 3",
    )

    dim: int | None = Field(None, ge=0)
    """The dimension; if not given, ρ, which varies most over the training sentences."""
    num_random: int = Field(20, ge=1)
    """Other dimensions, the control: how far any dimension is one part's work."""
    num_shown: int = Field(10, ge=1)
    """Parts that are told as numbers; the arrays hold all."""
    max_sentences: int = Field(1024, ge=8)
    """Sentences of the validation split that are taken apart, the first ones."""

    def run(self, bench: Bench) -> Result:
        """Take the dimension apart over the validation sentences.

        Raises:
            UserError: there is no such dimension, it does not vary, or it is not the sum of what the parts write.
        """
        variance = bench.states("train").var(axis=0, dtype=np.float64)
        dims = self._dims(variance, seeds.stream(bench.seed, "other dimensions"))
        batches = bench.batches("validation", self.max_sentences)
        parts, values = written(bench.network, batches, dims)
        labels = bench.labels("validation")[: self.max_sentences]
        error = _sum_error(parts, values)
        of_variance = {part: _of_variance(each, values) for part, each in parts.items()}
        of_classes = {part: _of_classes(each, values, labels) for part, each in parts.items()}
        numbers = [
            Number(name="dim", value=dims[0], unit="index"),
            Number(name="largest_sum_error", value=error, unit="standard deviations", better="lower"),
            *self._furthest(of_variance, of_classes),
            *_sums(of_variance, of_classes),
            *_concentration(of_variance),
        ]
        arrays = {
            f"{part}_{name}": Array(shares[part].mean(axis=1)[0], _AXES[part])
            for name, shares in (("variance_share", of_variance), ("class_share", of_classes))
            for part in ("heads", "attention_bias", "mlp")
        }
        return Result(numbers=numbers, arrays=arrays)

    def _dims(self, variance: Float[np.ndarray, " dims"], rng: np.random.Generator) -> list[int]:
        """The dimension, then the others that vary."""
        if self.dim is not None and self.dim >= len(variance):
            raise UserError(f"the states have the dimensions 0 to {len(variance) - 1}, and {self.dim} was asked for")
        chosen = principal_dim(variance) if self.dim is None else self.dim
        if not variance[chosen] > 0:
            raise UserError(f"dimension {chosen} is the same for all sentences: there is nothing to take apart")
        others = np.setdiff1d(np.flatnonzero(variance > 0), [chosen])
        return [chosen, *rng.permutation(others)[: self.num_random].tolist()]

    def _furthest(
        self, of_variance: Mapping[str, np.ndarray], of_classes: Mapping[str, np.ndarray]
    ) -> Iterator[Number]:
        places = [(part, place) for part, axes in _AXES.items() for place in np.ndindex(of_variance[part].shape[2:])]
        shares = [of_variance[part][0][:, *place].mean() for part, place in places]
        for rank, index in enumerate(np.argsort(np.abs(shares), kind="stable")[::-1][: self.num_shown]):
            part, place = places[index]
            where = {"part": part, **dict(zip(_AXES[part], place, strict=True)), "rank": rank + 1}
            yield _share("variance_share", of_variance[part][0][:, *place], **where)
            yield _share("class_share", of_classes[part][0][:, *place], **where)


def _of_variance(
    part: Float[np.ndarray, "dims sentences *places"], values: Float[np.ndarray, "dims sentences"]
) -> Float[np.ndarray, "dims sentences *places"]:
    """Every sentence's term of cov(part, dimension) / var(dimension): the mean over sentences is the share."""
    deviation = values - values.mean(axis=1, keepdims=True)
    factor = deviation / deviation.var(axis=1, keepdims=True)
    return (part - part.mean(axis=1, keepdims=True)) * _along(factor, part)


def _of_classes(
    part: Float[np.ndarray, "dims sentences *places"],
    values: Float[np.ndarray, "dims sentences"],
    labels: Int[np.ndarray, " sentences"],
) -> Float[np.ndarray, "dims sentences *places"]:
    """The same with the mean of its class for each sentence's value; NaN where the classes' means are the same."""
    means = values.copy()
    for label in np.unique(labels):
        means[:, labels == label] = values[:, labels == label].mean(axis=1, keepdims=True)
    deviation = means - means.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = deviation / deviation.var(axis=1, keepdims=True)
    return (part - part.mean(axis=1, keepdims=True)) * _along(factor, part)


def _along(factor: Float[np.ndarray, "dims sentences"], part: np.ndarray) -> np.ndarray:
    return factor.reshape(*factor.shape, *[1] * (part.ndim - 2))


def _sum_error(parts: Mapping[str, np.ndarray], values: Float[np.ndarray, "dims sentences"]) -> float:
    """How far the parts' sum is from the first dimension, in its standard deviations.

    Raises:
        UserError: it is too far.
    """
    summed = sum(each[0].reshape(values.shape[1], -1).sum(axis=1) for each in parts.values())
    error = float(np.abs(summed - values[0]).max() / values[0].std())
    if not error <= _LARGEST_ERROR:
        raise UserError(
            f"the parts' sum misses the dimension by up to {error:.2g} of its standard deviation: something else than "
            "sums and norms stands between the parts of this model. Take a model of another family"
        )
    return error


def _sums(of_variance: Mapping[str, np.ndarray], of_classes: Mapping[str, np.ndarray]) -> Iterator[Number]:
    for part in _AXES:
        for name, shares in (("variance_sum", of_variance), ("class_sum", of_classes)):
            own = shares[part][0]
            yield _share(name, own.reshape(len(own), -1).sum(axis=1), part=part)


def _concentration(of_variance: Mapping[str, np.ndarray]) -> Iterator[Number]:
    """How much of a dimension is the work of the head or MLP with the largest share, here and elsewhere."""
    means = np.concatenate([_flat(of_variance[part].mean(axis=1)) for part in ("heads", "mlp")], axis=1)
    largest = means.max(axis=1)
    yield Number(name="largest_share", value=float(largest[0]), where={"dimension": "chosen"})
    if len(largest) > 1:
        low, high = (float(each) for each in np.quantile(largest[1:], [0.025, 0.975]))
        where = {"dimension": "others"}
        yield Number(name="largest_share", value=float(largest[1:].mean()), interval=(low, high), where=where)


def _flat(values: Float[np.ndarray, "dims *places"]) -> Float[np.ndarray, "dims all_places"]:
    return values.reshape(len(values), -1)


def _share(name: str, terms: Float[np.ndarray, " sentences"], **where: str | int) -> Number:
    return Number(name=name, value=float(terms.mean()), interval=mean_interval(terms), where=where)
