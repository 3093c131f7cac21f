"""Which heads, MLPs and states carry the answer: each takes its value from the other prompt, and the answer moves.

Denoising: the counterfactual is run with one value of the prompt's, and the share of the answer that comes back is told
(what is enough); noising: the prompt is run with one value of the counterfactual's, and the share that is lost is told
(what is needed). Vig et al. 2020 (2004.12265), section 4; Meng et al. 2022 (2202.05262), section 2; the names and the
normalization (0: nothing, 1: all) are Heimersheim & Nanda 2024's (2404.15255). We differ in computing each patch only
from its block and from the first token that differs on, many at once; the numbers are those of whole passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from dimscope.activations.continuation import both, bytes_at_once
from dimscope.activations.patching import Patch, Reading, patched
from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.progress import say, work
from dimscope.core.result import Array, Number, Result
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.load import Network
from dimscope.scoring.known import Taken, taken
from dimscope.scoring.metrics import bound
from dimscope.scoring.patching import numbers_of, shares

Part = Literal["heads", "attention", "mlp", "state"]
_SITES = {"heads": "attn.heads", "attention": "attn.out", "mlp": "mlp.out", "state": "out"}


class ActivationPatching(Method):
    """The share of the answer that each head, and each layer's attention, MLP and state at each token, carries."""

    sources = (
        "Vig et al. 2020 (2004.12265), section 4",
        "Meng, Bau, Andonian & Belinkov 2022 (2202.05262), section 2",
        "Heimersheim & Nanda 2024 (2404.15255)",
    )

    direction: Literal["denoising", "noising"] = "denoising"
    """Whether the prompt's values are put into the counterfactual, or the other way around."""
    parts: tuple[Part, ...] = ("heads", "attention", "mlp", "state")
    """What is patched: heads at all tokens; a layer's attention, MLP or state at each named token."""
    metric: Literal["logit_difference", "probability", "log_probability"] = "logit_difference"
    """What is read of the answer."""
    taken: Taken = "known"
    """Which pairs are looked at: those whose prompt the model has right, or all."""
    num_shown: int = Field(10, ge=1)
    """Places of each part that are told as numbers; the arrays hold all."""

    def run(self, bench: Bench) -> Result:
        """Patch every place alone.

        Raises:
            UserError: the model has none of the prompts right.
        """
        network: Network = bench.network
        pairs, numbers = taken(network, bench.pairs, self.taken)
        asked = pairs.swapped() if self.direction == "denoising" else pairs
        base, other = both(network, asked, [_SITES[part] for part in self.parts])
        reading = Reading(*bound(self.metric, pairs.answers, pairs.others))
        ends = [reading.of_unchanged(each).cpu().numpy() for each in (base, other)]
        say(f"{len(pairs)} pairs, each pass about {bytes_at_once(base) / 2**20:.0f} MiB")
        arrays: dict[str, Array] = {}
        places = {part: list(_places(part, pairs, network)) for part in self.parts}
        with work("patches", sum(map(len, places.values()))) as done:
            for part in self.parts:
                patches = [patch for patch, _ in places[part]]
                found = shares(patched(base, other, patches, reading, done).cpu().numpy(), *ends)
                numbers += numbers_of(found, [{"part": part, **place} for _, place in places[part]], self.num_shown)
                arrays[part] = _array(found.mean(axis=1), part, pairs, network)
        return Result(numbers=[*numbers, *self._ends(*ends)], arrays=arrays, notes=pairs.notes)

    def _ends(self, unchanged: np.ndarray, other: np.ndarray) -> Iterator[Number]:
        """Tell what the two prompts give without any patch: the shares 0 and 1."""
        texts = ("counterfactual", "prompt") if self.direction == "denoising" else ("prompt", "counterfactual")
        for text, values in zip(texts, (unchanged, other), strict=True):
            yield Number(name=f"mean_{self.metric}", value=float(values.mean()), where={"text": text})


def _places(part: Part, pairs: PromptPairs, network: Network) -> Iterator[tuple[Patch, Mapping[str, str | int]]]:
    for layer in range(network.num_layers):
        site = f"layers.{layer}.{_SITES[part]}"
        if part == "heads":
            yield from ((Patch(site, head), {"layer": layer, "head": head}) for head in range(network.num_heads))
            continue
        for token, where in _tokens(pairs).items():
            yield Patch(site, tokens=torch.from_numpy(where)), {"layer": layer, "token": token}


def _tokens(pairs: PromptPairs) -> dict[str, np.ndarray]:
    """Give the named tokens from the first that differs on, in the order in which they mostly stand."""
    reached = {
        name: where for name, where in pairs.places.items() if (where >= int(pairs.first_difference.min())).all()
    }
    return dict(sorted(reached.items(), key=lambda item: float(np.mean(item[1]))))


def _array(means: np.ndarray, part: Part, pairs: PromptPairs, network: Network) -> Array:
    values = means.reshape(network.num_layers, -1)
    if part == "heads":
        return Array(values, ("layer", "head"))
    return Array(values, ("layer", "token"), ticks={"token": list(_tokens(pairs))})
