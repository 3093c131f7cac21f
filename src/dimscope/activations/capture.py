"""States of sentences at named sites, pooled as they come: all layers or all tokens are never kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dimscope.activations.hooks import AtSite, hooked
from dimscope.models.classify import classify
from dimscope.models.load import Network
from dimscope.models.pooling import default_pooling, pool

Batches = Iterable[tuple[Int[np.ndarray, " batch"], Mapping[str, Tensor]]]
"""The numbers of the sentences in a batch, and the padded batch."""


def states(
    network: Network, batches: Batches, sites: Sequence[str] = ("final",), pooling: str = "auto"
) -> dict[str, Float[np.ndarray, "sentences dims"]]:
    """Give one state per sentence at every site, in float32 and in the order of the sentences' numbers.

    `pooling` is 'first', 'last', 'mean', or 'auto' for the token that the classifier reads. The forward pass
    stops at the deepest site that is asked for.

    >>> from dimscope.models.load import load
    >>> network = load("tiny/gpt2")
    >>> batch = network.tokenizer(["good film", "so sad"], padding=True, return_tensors="pt")
    >>> states(network, [(np.array([0, 1]), batch)], ["embed", "final"])["final"].shape
    (2, 32)

    Raises:
        UnknownName: the model has no such site, or there is no such pooling.
    """
    pooling = default_pooling(network) if pooling == "auto" else pooling
    numbers: list[np.ndarray] = []
    pooled: dict[str, list[np.ndarray]] = {site: [] for site in sites}
    for indices, batch in batches:
        numbers.append(np.asarray(indices))
        for site, (values, mask) in _values(network, batch, sites).items():
            # Logits come one per sentence already.
            state = pool(values, mask, pooling) if values.ndim == 3 else values
            pooled[site].append(state.float().cpu().numpy())
    order = np.argsort(np.concatenate(numbers))
    return {site: np.concatenate(parts)[order] for site, parts in pooled.items()}


def tokens(
    network: Network, batches: Batches, sites: Sequence[str]
) -> Iterator[tuple[dict[str, Float[np.ndarray, "batch tokens dims"]], Int[np.ndarray, "batch tokens"]]]:
    """Give, batch by batch, the state of every token at every site, in float32, and the attention mask.

    Raises:
        UnknownName: the model has no such site.
    """
    for _, batch in batches:
        seen = _values(network, batch, sites)
        values = {site: seen[site][0].float().cpu().numpy() for site in sites}
        yield values, seen[sites[0]][1].cpu().numpy()


class _SeenAllError(Exception):
    """The deepest site was passed; nothing after it matters."""


@torch.inference_mode()
def _values(network: Network, batch: Mapping[str, Tensor], sites: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Give what stands at each site in the pass of one batch, with the attention mask."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(site: str) -> AtSite:
        def function(values: Tensor, mask: Tensor) -> None:
            seen[site] = values, mask
            if len(seen) == len(sites):
                raise _SeenAllError

        return function

    with hooked(network.model, {site: watch(site) for site in sites}), suppress(_SeenAllError):
        classify(network, batch)
    return seen
