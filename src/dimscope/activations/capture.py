"""States of sentences at named sites, pooled as they come: all layers or all tokens are never kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dimscope.activations.hooks import AtSite, hooked
from dimscope.activations.places import Places
from dimscope.core.memory import in_own_pages
from dimscope.models.classify import classify
from dimscope.models.direct import DirectPass, has_direct_pass
from dimscope.models.load import Network
from dimscope.models.pooling import default_pooling, pool, pooled_token

Batches = Iterable[tuple[Int[np.ndarray, " batch"], Mapping[str, Tensor]]]
"""The numbers of the sentences in a batch, and the padded batch."""


def states(
    network: Network,
    batches: Batches,
    sites: Sequence[str] = ("final",),
    pooling: str = "auto",
    dtype: torch.dtype = torch.float32,
) -> dict[str, Float[np.ndarray, "sentences dims"]]:
    """Give one state per sentence at every site, as float32 and in the order of the sentences' numbers.

    `pooling` is 'first', 'last', 'mean', or 'auto' for the token that the classifier reads. The forward pass
    stops at the deepest site that is asked for, and takes its products in `dtype`.

    >>> from dimscope.models.load import load
    >>> network = load("tiny/gpt2")
    >>> batch = network.tokenizer(["good film", "so sad"], padding=True, return_tensors="pt")
    >>> states(network, [(np.array([0, 1]), batch)], ["embed", "final"])["final"].shape
    (2, 32)

    Raises:
        UnknownName: the model has no such site, or there is no such pooling.
    """
    pooling = default_pooling(network) if pooling == "auto" else pooling
    take = _direct(network, sites, pooling, dtype) or _hooked(network, sites, pooling, dtype)
    out: dict[str, np.ndarray] = {}
    taken = np.zeros(0, bool)
    for indices, batch in batches:
        num_rows = max(len(taken), int(np.max(indices)) + 1)
        taken = np.pad(taken, (0, num_rows - len(taken)))
        taken[indices] = True
        for site, pooled in take(batch).items():
            out[site] = _with_room(out.get(site), num_rows, pooled.shape[-1])
            out[site][indices] = pooled.float().cpu().numpy()
    # A slice, where every sentence came: choosing by a mask would copy.
    chosen = slice(len(taken)) if taken.all() else np.flatnonzero(taken)
    return {site: rows[chosen] for site, rows in out.items()}


def _with_room(rows: np.ndarray | None, num_rows: int, num_dims: int) -> Float[np.ndarray, "_rows dims"]:
    """Give the same rows with place for so many: batches come by length, so that soon a late sentence is among them.

    Parts to be joined at the end would take the memory twice. The margin, never written to, takes none.
    """
    if rows is not None and len(rows) >= num_rows:
        return rows
    larger = in_own_pages(num_rows + num_rows // 4, num_dims)
    if rows is not None:
        larger[: len(rows)] = rows
    return larger


def tokens(
    network: Network, batches: Batches, sites: Sequence[str]
) -> Iterator[tuple[dict[str, Float[np.ndarray, "batch tokens dims"]], Int[np.ndarray, "batch tokens"]]]:
    """Give, batch by batch, the state of every token at every site, in float32, and the attention mask.

    Raises:
        UnknownName: the model has no such site.
    """
    for _, batch in batches:
        seen = _taken(network, batch, sites, lambda values, mask: (_array(values), mask.cpu().numpy()))
        yield {site: seen[site][0] for site in sites}, seen[sites[0]][1]


def chosen_tokens(
    network: Network, batches: Batches, sites: Sequence[str], tokens: Int[np.ndarray, "sentences chosen"]
) -> Iterator[tuple[Int[np.ndarray, " batch"], dict[str, Float[np.ndarray, "batch chosen dims"]]]]:
    """Give, batch by batch, the sentences' numbers and what some tokens of each have at every site, in float32.

    Row i of `tokens` are those of sentence i, counted from its first real token, wherever the padding stands. No other
    token is kept, and the forward pass stops at the deepest site.

    >>> from dimscope.models.load import load
    >>> network = load("tiny/gpt2")
    >>> batch = network.tokenizer(["good film", "so sad"], padding=True, return_tensors="pt")
    >>> ends = batch["attention_mask"].sum(1, keepdim=True).numpy() - 1
    >>> [(numbers, by_site)] = chosen_tokens(network, [(np.array([0, 1]), batch)], ["layers.0.attn.v"], ends)
    >>> by_site["layers.0.attn.v"].shape
    (2, 1, 32)

    Raises:
        UnknownName: the model has no such site.
        UserError: a sentence has no such token.
    """
    for indices, batch in batches:

        def take(values: Tensor, mask: Tensor, own: np.ndarray = tokens[indices]) -> np.ndarray:
            return _array(Places.of(own, mask, "first").take(values))

        yield indices, _taken(network, batch, sites, take)


def _array(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()


Take = Callable[[Mapping[str, Tensor]], dict[str, Float[Tensor, "batch dims"]]]
"""Gives the pooled states of one batch at every site."""


def _direct(network: Network, sites: Sequence[str], pooling: str, dtype: torch.dtype) -> Take | None:
    """Take states from the pass that is written out, if there is one and all sites stand between its blocks."""
    depths = _depths(network, sites)
    if depths is None:
        return None
    num_blocks = max(depths.values())
    direct = DirectPass(network, dtype, packed=True)

    @torch.inference_mode()
    def take(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        mask = batch["attention_mask"]
        sentences = direct.sentences(mask)
        only = None if pooling == "mean" else sentences.row_of(pooled_token(mask, pooling))
        pooled = {}
        for depth, hidden in enumerate(direct.hidden(batch, sentences, num_blocks, only)):
            is_read_already = only is not None and depth == num_blocks > 0
            for site in (site for site, place in depths.items() if place == depth):
                pooled[site] = hidden if is_read_already else sentences.pooled(hidden, pooling)
        return pooled

    return take


def skips_padding(network: Network, sites: Sequence[str]) -> bool:
    """Tell whether states at these sites come from the pass that computes nothing for padding."""
    return _depths(network, sites) is not None


def _depths(network: Network, sites: Sequence[str]) -> dict[str, int] | None:
    """Give the number of blocks after which each site stands, if all stand between those of a written-out pass."""
    found = {network.sites[site].name: _depth(site, network.num_layers) for site in sites}
    depths = {site: depth for site, depth in found.items() if depth is not None}
    return depths if len(depths) == len(found) and has_direct_pass(network) else None


def _depth(site: str, num_layers: int) -> int | None:
    """Give the number of blocks after which a site stands, if it stands between blocks."""
    if site in ("embed", "final"):
        return 0 if site == "embed" else num_layers
    match site.split("."):
        case ["layers", layer, ("in" | "out") as side]:
            return int(layer) + (side == "out")
    return None


def _hooked(network: Network, sites: Sequence[str], pooling: str, dtype: torch.dtype) -> Take:
    """Take states by hooks, from any model."""

    def take(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.autocast(network.device.type, dtype, enabled=dtype != torch.float32):
            return _taken(network, batch, sites, pooled)

    def pooled(values: Tensor, mask: Tensor) -> Tensor:
        # Logits come one per sentence already.
        return pool(values, mask, pooling) if values.ndim == 3 else values

    return take


Taken = TypeVar("Taken")


class _SeenAllError(Exception):
    """The deepest site was passed; nothing after it matters."""


@torch.inference_mode()
def _taken(
    network: Network, batch: Mapping[str, Tensor], sites: Sequence[str], take: Callable[[Tensor, Tensor], Taken]
) -> dict[str, Taken]:
    """Give what is taken of the values and the mask at each site, in the pass of one batch."""
    seen: dict[str, Taken] = {}

    def watch(site: str) -> AtSite:
        def function(values: Tensor, mask: Tensor) -> None:
            seen[site] = take(values, mask)
            if len(seen) == len(wanted):
                raise _SeenAllError

        return function

    wanted = {site: watch(site) for site in sites}
    with hooked(network.model, wanted), suppress(_SeenAllError):
        classify(network, batch)
    return seen
