"""Which heads are needed: the answer after each head's output has been taken out, at all tokens.

A head's output becomes zero, its mean over all tokens of all prompts, or what another prompt has at the same token
(resampling, Chan et al. 2022, "causal scrubbing"). Zero moves the stream to where it never is; the mean and another
prompt's values do not, and are to be read first. Michel, Levy & Neubig 2019 (1905.10650, section 3.2) take out one head
at a time with zero, as here; heads are edited at the input of their output projection, so its bias stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from dimscope.activations.continuation import Continuation
from dimscope.activations.patching import Patch, Reading, patched
from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Array, Number, Result
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.load import Network
from dimscope.numerics.resampling import mean_interval
from dimscope.scoring.known import Taken, taken
from dimscope.scoring.metrics import bound

Fill = Literal["mean", "resample", "zero"]
Values = Float[Tensor, "pairs tokens dims"]


class HeadAblation(Method):
    """The change of the answer when each head alone is taken out."""

    sources = (
        "Michel, Levy & Neubig 2019 (1905.10650), section 3.2",
        "resampling: Chan et al. 2022, causal scrubbing",
    )

    fills: tuple[Fill, ...] = ("mean", "resample", "zero")
    """What takes a head's place: its mean, another prompt's value at the same token, zero."""
    metric: Literal["logit_difference", "probability", "log_probability", "accuracy"] = "logit_difference"
    """What is read of the answer."""
    taken: Taken = "known"
    """Which pairs are looked at: those whose prompt the model has right, or all."""
    num_shown: int = Field(10, ge=1)
    """Heads of each fill that are told as numbers; the arrays hold all."""

    def run(self, bench: Bench) -> Result:
        """Take out every head, each time from the whole model.

        Raises:
            UserError: the model has none of the prompts right.
        """
        network: Network = bench.network
        pairs, numbers = taken(network, bench.pairs, self.taken)
        sites = tuple(f"layers.{layer}.attn.heads" for layer in range(network.num_layers))
        inputs = {"input_ids": torch.from_numpy(pairs.ids), "attention_mask": torch.from_numpy(pairs.mask)}
        base = Continuation(network, inputs, sites=sites)
        reading = Reading(*bound(self.metric, pairs.answers, pairs.others))
        unchanged = reading.of_unchanged(base).cpu().numpy()
        patches = [Patch(site, head) for site in sites for head in range(network.num_heads)]
        numbers.append(_told(f"mean_{self.metric}", unchanged, {"ablated": "nothing"}))
        arrays: dict[str, Array] = {}
        with work("heads", len(patches) * len(self.fills)) as done:
            for fill in self.fills:
                filled = _Filled({site: _fill(fill, base.kept[site], pairs, bench.seed) for site in sites})
                change = patched(base, filled, patches, reading, done).cpu().numpy() - unchanged
                arrays[fill] = Array(change.mean(axis=1).reshape(network.num_layers, -1), ("layer", "head"))
                numbers += self._largest(change, fill, network.num_heads)
        return Result(numbers=numbers, arrays=arrays, notes=pairs.notes)

    def _largest(self, change: Float[np.ndarray, "heads pairs"], fill: Fill, num_heads: int) -> list[Number]:
        """Tell the heads without which most is lost or won, and as the control the median of all."""
        size, name = np.abs(change.mean(axis=1)), f"change_of_{self.metric}"
        numbers = []
        for rank, place in enumerate(np.argsort(-size, kind="stable")[: self.num_shown], start=1):
            layer, head = divmod(int(place), num_heads)
            numbers.append(_told(name, change[place], {"fill": fill, "layer": layer, "head": head, "rank": rank}))
        return [*numbers, Number(name=f"median_absolute_{name}", value=float(np.median(size)), where={"fill": fill})]


@dataclass(frozen=True)
class _Filled:
    """What takes the heads' place."""

    kept: dict[str, Values]


def _fill(fill: Fill, values: Values, pairs: PromptPairs, seed: int) -> Values:
    if fill == "zero":
        return torch.zeros_like(values)
    if fill == "mean":
        is_real = torch.from_numpy(pairs.mask).bool().to(values.device)
        return values[is_real].mean(0).expand_as(values)
    others = another(len(pairs), seeds.stream(seed, "another prompt"))
    # A shorter prompt gives what it has at its last token.
    tokens = np.minimum(np.arange(values.shape[1]), pairs.places["end"][others][:, None])
    return values[torch.from_numpy(others)[:, None], torch.from_numpy(tokens)]


def another(num_pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Give for each pair the place of another, each taken once.

    >>> np.sort(another(4, np.random.default_rng(0))).tolist()
    [0, 1, 2, 3]
    """
    order = rng.permutation(num_pairs)
    others = np.empty(num_pairs, np.int64)
    others[order] = np.roll(order, 1)
    return others


def _told(name: str, values: Float[np.ndarray, " pairs"], where: dict[str, str | int]) -> Number:
    return Number(name=name, value=float(values.mean()), interval=mean_interval(values), where=where)
