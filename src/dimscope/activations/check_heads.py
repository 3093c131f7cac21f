"""Whether queries, keys, values and heads are what their sites say: each is changed, and only its own heads may move.

Which outputs of a linear map belong to which head is read off its name and size, so it is proved here on the model
itself: in all layers in one pass, since what the heads gave before is put back after it was looked at.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dimscope.activations.check import LARGEST_DIFFERENCE, checking, random_ids
from dimscope.activations.hooks import AtSite, hooked
from dimscope.core.errors import UserError
from dimscope.models.blocks import bias, weight
from dimscope.models.load import Network

TOKEN = 3
"""Whose queries and keys are changed: there are tokens before it and after it."""
Heads = Float[Tensor, "layers batch tokens heads head_dim"]


@checking("heads are told apart")
@torch.inference_mode()
def heads_are_apart(network: Network) -> str:
    """A query moves its head at its token, a key the heads that share it; heads give nothing without their values."""
    given = _given(network)
    _require_sums(network, given)
    if "layers.0.attn.q" not in network.sites:
        return "queries, keys and values are kept in a way not known here: there are no sites attn.in, q, k, v"
    num_heads, num_kv_heads = (network.sites[f"layers.0.attn.{part}"].num_heads for part in ("q", "k"))
    in_group = torch.arange(num_heads) >= num_heads - num_heads // num_kv_heads
    is_last, is_token = torch.arange(num_heads) == num_heads - 1, torch.arange(given.shape[2]) == TOKEN
    moved = _moved(given, _given(network, "q", _last_head_zero(num_heads, TOKEN), given))
    _require(moved, is_token[:, None] & is_last, "a query")
    moved = _moved(given, _given(network, "k", _last_head_zero(num_kv_heads, TOKEN), given))
    _require(moved, in_group.expand(len(is_token), -1), "a key")
    if not moved[~is_token].any():
        raise UserError("a changed key moves nothing but its own token: it is not a key")
    without = _given(network, "v", _last_head_zero(num_kv_heads), given)
    _require(_moved(given, without), in_group.expand(len(is_token), -1), "a value")
    if without[..., in_group, :].any():
        raise UserError("heads give something where their values are zero")
    return f"{num_heads} heads of {given.shape[-1]} dims in each layer, {num_kv_heads} of keys and values"


def _given(
    network: Network, part: str | None = None, change: AtSite | None = None, restored: Heads | None = None
) -> Heads:
    """Give what the heads of all layers give for random tokens, with one part changed in each of them."""
    seen: dict[int, Tensor] = {}
    ids = random_ids(network).to(network.device)

    def look(layer: int) -> AtSite:
        def function(values: Tensor, mask: Tensor) -> Tensor | None:
            seen[layer] = values
            return None if restored is None else restored[layer].flatten(-2).to(values)

        return function

    functions = {f"layers.{layer}.attn.heads": look(layer) for layer in range(network.num_layers)}
    if change:
        functions |= {f"layers.{layer}.attn.{part}": change for layer in range(network.num_layers)}
    with hooked(network.model, functions):
        network.model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids))
    num_heads = network.sites["layers.0.attn.heads"].num_heads
    return torch.stack([seen[layer].unflatten(-1, (num_heads, -1)) for layer in range(network.num_layers)]).cpu()


def _last_head_zero(num_heads: int, token: int | None = None) -> AtSite:
    def change(values: Tensor, mask: Tensor) -> Tensor:
        new = values.clone().unflatten(-1, (num_heads, -1))
        new[:, slice(None) if token is None else token, -1] = 0
        return new.flatten(-2)

    return change


def _moved(before: Heads, after: Heads) -> Bool[Tensor, "tokens heads"]:
    """Tell which heads gave something else, at which tokens, in any layer and sentence."""
    largest = before.abs().amax(dim=(1, 2, 3, 4), keepdim=True)
    return ((before - after).abs() > LARGEST_DIFFERENCE * largest).any(dim=-1).any(dim=0).any(dim=0)


def _require(moved: Bool[Tensor, "tokens heads"], allowed: Bool[Tensor, "tokens heads"], what: str) -> None:
    if not moved[allowed].any() or moved[~allowed].any():
        raise UserError(f"{what} of the last head moves other heads or tokens than its own")


def _require_sums(network: Network, given: Heads) -> None:
    """Require that the heads' contributions sum up to what the attention writes."""
    seen: dict[int, Tensor] = {}
    ids = random_ids(network).to(network.device)

    def keep(layer: int) -> Callable[[Tensor, Tensor], None]:
        return lambda values, mask: seen.update({layer: values.cpu()})

    names = {f"layers.{layer}.attn.out": keep(layer) for layer in range(network.num_layers)}
    with hooked(network.model, names):
        network.model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids))
    for layer, written in seen.items():
        linear = network.sites[f"layers.{layer}.attn.out"].module
        matrix = weight(linear).cpu().unflatten(1, given.shape[3:])
        each = torch.einsum("bthd,ohd->btho", given[layer], matrix)
        total = each.sum(2) + bias(linear).cpu()
        if not torch.allclose(total, written, rtol=0, atol=LARGEST_DIFFERENCE * written.abs().max().item()):
            raise UserError(f"what the heads of layer {layer} contribute does not sum up to what its attention writes")
