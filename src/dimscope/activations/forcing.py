"""Heads made to look at chosen tokens: their rows of the attention pattern are 0 but for equal shares there.

Merullo, Eickhoff & Pavlick 2024 (2310.08744), the attention intervention: at one token, the pattern's row alone is
overwritten, and all else is computed as ever.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from dimscope.activations.continuation import Continuation
from dimscope.activations.edits import Edit, Rows, edit
from dimscope.activations.hooks import AtSite
from dimscope.activations.patterns import patterned
from dimscope.core.errors import UnknownName, UserError
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.load import Network


def forced(
    network: Network, pairs: PromptPairs, heads: Sequence[tuple[int, int]], toward: Sequence[str], token: str = "end"
) -> AbstractContextManager[None]:
    """Within the block, heads (layer, head) look from `token` of these very prompts at `toward`, and at nothing else.

    Raises:
        UserError: the model has no such head.
    """
    rows = looking_at(pairs, toward)[:, None, None]
    tokens = pairs.places[token][:, None]
    edits = [
        Edit(f"layers.{layer}.attn.pattern", Rows(rows), heads=each, tokens=tokens)
        for layer, each in _by_layer(heads).items()
    ]
    return edit(network, edits)


def outputs_forced(
    base: Continuation,
    rows: Float32[np.ndarray, "batch keys"],
    tokens: Int[np.ndarray, " batch"],
    copies: Sequence[Sequence[tuple[int, int]]],
) -> Float[Tensor, "copies batch outputs"]:
    """Give the logits of as many copies of the batch as there are lists of heads, in each copy with its heads forced.

    What comes before the first forced layer is as it was, and not computed again; `base` may begin as late as at the
    first of the tokens.
    """
    given = torch.from_numpy(rows)
    own, at = torch.arange(len(rows)), torch.from_numpy(tokens) - base.start

    def forcing(layer: int) -> AtSite:
        def change(values: Tensor, mask: Tensor) -> Tensor:
            new = values.clone().unflatten(2, (base.network.num_heads, -1)).unflatten(0, (len(copies), -1))
            for copy, heads in zip(new, copies, strict=True):
                for head in _by_layer(heads).get(layer, []):
                    copy[own, at, head] = given[:, : new.shape[-1]].to(new)
            return new.flatten(0, 1).flatten(2)

        return change

    layers = {layer for heads in copies for layer, _ in heads}
    with patterned(base.network, {layer: forcing(layer) for layer in layers}):
        return base.outputs(min(layers, default=0), {}, len(copies))


def looking_at(pairs: PromptPairs, toward: Sequence[str]) -> Float32[np.ndarray, "pairs tokens"]:
    """Give rows of a pattern: an equal share for each of the named tokens, 0 elsewhere.

    >>> ids, one = np.array([[5, 6, 7]]), np.array([0])
    >>> pairs = PromptPairs("x", ("a",), ("b",), ids, ids, ids, one, one, {"red": one, "blue": one + 2, "end": one + 2})
    >>> looking_at(pairs, ["red", "blue"]).tolist()
    [[0.5, 0.0, 0.5]]
    """
    rows = np.zeros(pairs.ids.shape, np.float32)
    for name in toward:
        rows[np.arange(len(pairs)), pairs.places[name]] += 1 / len(toward)
    return rows


def require_places(pairs: PromptPairs, network: Network, toward: Sequence[str], token: str) -> None:
    """Refuse tokens that the prompts do not have, or that come after the one that looks at them.

    Raises:
        UnknownName: the prompts have no such token.
        UserError: a decoder cannot look there.
    """
    for name in (*toward, token):
        if name not in pairs.places:
            raise UnknownName("token", name, pairs.places, f"Name tokens of {pairs.name} with --toward and --token.")
    late = [name for name in toward if (pairs.places[name] > pairs.places[token]).any()]
    if late and network.is_decoder:
        raise UserError(f"{token!r} comes before {late[0]!r}, which a decoder cannot look at: take earlier tokens")


def _by_layer(heads: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
    of_layers: defaultdict[int, list[int]] = defaultdict(list)
    for layer, head in heads:
        of_layers[layer].append(head)
    return dict(of_layers)
