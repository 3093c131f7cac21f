"""Within a block, chosen dims of the states at a site are zero, a fixed vector's or other sentences'.

An edit gives new values and never writes into the model's own tensors, so that after the block all is bit for
bit as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dimscope.activations.hooks import AtSite, hooked
from dimscope.core.errors import UserError
from dimscope.models.load import Network
from dimscope.models.pooling import default_pooling, pooled_token, position_ids


@dataclass(frozen=True)
class Zero:
    """Nothing at all."""


@dataclass(frozen=True, eq=False)
class Constant:
    """The same vector for every sentence, such as the mean state; over all dims of the site."""

    vector: Float[np.ndarray, " dims"]


@dataclass(frozen=True, eq=False)
class Swap:
    """The values of sentence `order[i]` of the same batch for sentence i, token for token.

    Past its end a shorter sentence gives those of its last token.
    """

    order: Int[np.ndarray, " batch"]


Value = Zero | Constant | Swap


@dataclass(frozen=True, eq=False)
class Edit:
    """Put `value` into the dims `dims` of the states at `site`, of all tokens or of the pooled one only."""

    site: str
    dims: Sequence[int]
    value: Value = Zero()
    tokens: Literal["all", "pooled"] = "all"


@contextmanager
def edit(network: Network, edits: Sequence[Edit]) -> Iterator[None]:
    """Within the block, edit every forward pass of the network; blocks nest, the inner edits come after.

    >>> from dimscope.models.classify import classify
    >>> from dimscope.models.load import load
    >>> network = load("tiny/gpt2")
    >>> batch = network.tokenizer(["good film", "so sad"], padding=True, return_tensors="pt")
    >>> with edit(network, [Edit("final", dims=range(32))]):
    ...     classify(network, batch).abs().max().item()
    0.0

    Raises:
        UnknownName: the model has no such site.
        UserError: a dim is not one of the model's.
    """
    with ExitStack() as stack:
        for one in edits:
            stack.enter_context(hooked(network.model, {one.site: _change(network, one)}))
        yield


def _change(network: Network, one: Edit) -> AtSite:
    dims = torch.as_tensor(np.asarray(one.dims, dtype=np.int64), device=network.device)
    pooling = default_pooling(network)

    def change(values: Tensor, mask: Tensor) -> Tensor:
        _require_dims(one.dims, values.shape[-1])
        new = values.clone()
        new[..., dims] = _replacement(one.value, values, mask)[..., dims]
        if one.tokens == "all" or values.ndim == 2:
            return new
        tokens = torch.arange(values.shape[1], device=values.device)
        is_pooled = tokens == pooled_token(mask, pooling).unsqueeze(1)
        return torch.where(is_pooled.unsqueeze(-1), new, values)

    return change


def _replacement(value: Value, values: Tensor, mask: Tensor) -> Tensor:
    """Give what takes the place of all dims, in the shape of `values` or broadcast to it."""
    if isinstance(value, Zero):
        return torch.zeros_like(values)
    if isinstance(value, Constant):
        return torch.as_tensor(value.vector, dtype=values.dtype, device=values.device)
    order = torch.as_tensor(value.order, device=values.device)
    if values.ndim == 2:
        return values[order]
    first, last = (pooled_token(mask[order], end).unsqueeze(1) for end in ("first", "last"))
    return values[order.unsqueeze(1), torch.minimum(first + position_ids(mask), last)]


def _require_dims(dims: Sequence[int], num_dims: int) -> None:
    outside = [dim for dim in dims if not 0 <= dim < num_dims]
    if outside:
        raise UserError(f"cannot edit dim {outside[0]}: the dims at this site are 0 to {num_dims - 1}.")
