"""Chosen dims of the states at a site set to another value, within a block: zero, a fixed vector, other sentences'.

An edit gives new values and never writes into the model's own tensors, so after the block all is bit for bit as before.
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
from dimscope.models.pooling import default_pooling, pooled_token


@dataclass(frozen=True)
class Zero:
    """Nothing at all."""


@dataclass(frozen=True, eq=False)
class Constant:
    """The same vector for every sentence, such as the mean state; over all dims of the site."""

    vector: Float[np.ndarray, " dims"]


@dataclass(frozen=True, eq=False)
class Donors:
    """Other sentences' states: sentence i of the batch takes row `order[i]` of `matrix`, over all dims of the site."""

    matrix: Float[np.ndarray, "sentences dims"]
    order: Int[np.ndarray, " batch"]


@dataclass(frozen=True, eq=False)
class Edit:
    """Put `value` into the dims `dims` of the states at `site`, of all tokens or of the pooled one only."""

    site: str
    dims: Sequence[int]
    value: Zero | Constant | Donors = Zero()
    tokens: Literal["all", "pooled"] = "all"


@contextmanager
def edit(network: Network, edits: Sequence[Edit]) -> Iterator[None]:
    """Within the block, every forward pass of the network is edited; blocks nest, the inner one's edits come after.

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
        _require_dims(dims, values.shape[-1])
        new = _replacement(one.value, dims, values)
        changed = values.clone()
        if one.tokens == "all" or values.ndim == 2:
            changed[..., dims] = new.unsqueeze(1) if values.ndim == 3 else new
        else:
            rows = torch.arange(len(values), device=values.device)
            changed[rows.unsqueeze(1), pooled_token(mask, pooling).unsqueeze(1), dims] = new
        return changed

    return change


def _replacement(
    value: Zero | Constant | Donors, dims: Int[Tensor, " chosen"], values: Tensor
) -> Float[Tensor, "batch chosen"]:
    if isinstance(value, Zero):
        return values.new_zeros(len(values), len(dims))
    rows = value.matrix[value.order] if isinstance(value, Donors) else np.atleast_2d(value.vector)
    new = torch.as_tensor(np.asarray(rows), dtype=values.dtype, device=values.device)[:, dims]
    return new.expand(len(values), -1)


def _require_dims(dims: Int[Tensor, " chosen"], num_dims: int) -> None:
    if len(dims) and not 0 <= int(dims.min()) <= int(dims.max()) < num_dims:
        raise UserError(f"cannot edit dim {int(dims.max())}: the dims at this site are 0 to {num_dims - 1}.")
