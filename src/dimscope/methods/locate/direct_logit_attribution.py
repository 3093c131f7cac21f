"""What each part of a model adds to the answer's logit over the other's, directly: by what it writes into the stream.

The stream is a sum: the embedding, every head, the bias of every layer's attention, every MLP (Elhage et al. 2021, "A
Mathematical Framework for Transformer Circuits": heads are independent and additive; 2211.00593, section 3.1, reads
heads along the same direction). So is the logit difference, once the final norm's scale is held at its value for the
state that is read: LayerNorm is then g ⊙ (x − mean x) / s + b and RMSNorm g ⊙ x / s, both linear but for b. Nothing is
folded or centered in the weights; b and the head's bias are a part of their own, and how far the parts' sum is from the
model's own logit difference is told. What a part does through later ones is not in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from pydantic import Field

from dimscope.activations.contributions import contributions
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.result import Array, Number, Result
from dimscope.models.load import Network
from dimscope.models.readout import Readout
from dimscope.numerics.resampling import mean_interval
from dimscope.scoring.known import Taken, answer, taken

_AXES = {"embedding": (), "heads": ("layer", "head"), "attention_bias": ("layer",), "mlp": ("layer",), "bias": ()}
_LARGEST_ERROR = 1e-3  # of the largest contribution; a part that is not known is of its order
Contributions = Mapping[str, Float[np.ndarray, "pairs *places"]]


class DirectLogitAttribution(Method):
    """What the embedding, each head, each attention's bias and each MLP add to the answer's logit over the other's."""

    sources = (
        "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits, transformer-circuits.pub",
        "Wang, Variengien, Conmy, Shlegeris & Steinhardt 2022 (2211.00593), section 3.1",
    )

    taken: Taken = "known"
    """Which pairs are looked at: those whose prompt the model has right, or all."""
    num_shown: int = Field(10, ge=1)
    """Parts that are told as numbers; the arrays hold all."""

    def run(self, bench: Bench) -> Result:
        """Take prompts and counterfactuals apart, both along the prompt's answer minus the other.

        Raises:
            UserError: the model is no decoder, its parts do not add up to its logits, or it has no prompt right.
        """
        network: Network = bench.network
        readout = Readout.of(network)
        pairs, numbers = taken(network, bench.pairs, self.taken)
        texts = {"prompt": pairs, "counterfactual": replace(pairs, ids=pairs.counterfactual_ids)}
        parts = {text: contributions(network, readout, each) for text, each in texts.items()}
        totals = {text: answer(network, each).logit_difference.astype(np.float64) for text, each in texts.items()}
        error = max(_sum_error(parts[text], totals[text]) for text in texts)
        _require_small(error, parts["prompt"], network)
        numbers += [_number("mean_logit_difference", totals[text], text=text) for text in texts]
        numbers.append(Number(name="largest_sum_error", value=error, unit="logits", better="lower"))
        for text in texts:
            numbers += _sums(parts[text], text)
        numbers += _furthest(parts, self.num_shown)
        numbers += _controls(parts["prompt"])
        arrays = {
            part: Array(values.mean(axis=0), _AXES[part], unit="logits")
            for part, values in parts["prompt"].items()
            if _AXES[part]
        }
        return Result(numbers=numbers, arrays=arrays, notes=pairs.notes)


def _sum_error(parts: Contributions, totals: Float[np.ndarray, " pairs"]) -> float:
    return float(np.abs(sum(map(_summed, parts.values())) - totals).max())


def _summed(values: Float[np.ndarray, "pairs *places"]) -> Float[np.ndarray, " pairs"]:
    return values.reshape(len(values), -1).sum(axis=1)


def _require_small(error: float, parts: Contributions, network: Network) -> None:
    largest = max(float(np.abs(values).max()) for values in parts.values())
    if not error <= _LARGEST_ERROR * largest:
        raise UserError(
            f"{network.name!r}: the parts' sum misses the logit difference by up to {error:.2g}, the largest part "
            f"being {largest:.2g}: what its blocks add to the stream is changed on the way, such as by a norm after "
            "attention or MLP. Take a model of another family"
        )


def _places(part: str, values: Float[np.ndarray, "pairs *places"]) -> Iterator[tuple[dict[str, str | int], np.ndarray]]:
    for place in np.ndindex(values.shape[1:]):
        yield {"part": part, **dict(zip(_AXES[part], place, strict=True))}, values[:, *place]


def _furthest(parts: Mapping[str, Contributions], num_shown: int) -> Iterator[Number]:
    """Tell of the parts that add most in prompts, either way, what they add there and in counterfactuals."""
    of_text = {text: [each for part in own for each in _places(part, own[part])] for text, own in parts.items()}
    means = [abs(values.mean()) for _, values in of_text["prompt"]]
    for rank, index in enumerate(np.argsort(means, kind="stable")[::-1][:num_shown]):
        for text, places in of_text.items():
            place, values = places[index]
            yield _number("mean_contribution", values, **place, rank=rank + 1, text=text)


def _sums(parts: Contributions, text: str) -> Iterator[Number]:
    for part, values in parts.items():
        yield _number("mean_sum", _summed(values), part=part, text=text)


def _controls(parts: Contributions) -> Iterator[Number]:
    for part in ("heads", "mlp"):
        median = float(np.median(np.abs(parts[part].mean(axis=0))))
        yield Number(name="median_absolute_contribution", value=median, unit="logits", where={"part": part})


def _number(name: str, values: Float[np.ndarray, " pairs"], **where: str | int) -> Number:
    return Number(name=name, value=float(values.mean()), unit="logits", interval=mean_interval(values), where=where)
