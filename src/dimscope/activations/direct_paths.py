"""What every part of a model adds, directly, to chosen dims of the sentence states: by what it writes into the stream.

Between parts, the stream is only summed and normed. With each norm's scale held at its value (`dimscope.models.norms`)
it is linear in what the parts write, whether norms stand before attention and MLP or after the sums; so a dim of the
sentence state is a sum over the embedding, every head, every attention's bias, every MLP and the norms' own b. The
factors are derivatives, taken on a pass in which what the parts write does not depend on what they read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from dimscope.activations.capture import Batches
from dimscope.activations.hooks import AtSite, hooked, replaced
from dimscope.models.blocks import bias, weight
from dimscope.models.classify import classify
from dimscope.models.load import Network
from dimscope.models.norms import HeldNorm
from dimscope.models.pooling import default_pooling, pool

Parts = dict[str, Float[np.ndarray, "dims sentences *places"]]
"""`embedding` and `norms` [dims, sentences], `attention_bias` and `mlp` [… layer], `heads` [… layer, head]."""


def written(
    network: Network, batches: Batches, dims: Sequence[int]
) -> tuple[Parts, Float[np.ndarray, "dims sentences"]]:
    """Give what every part adds to those dims of each sentence's state at `final`, and the dims themselves.

    The state is that of the token that the classifier reads. Where the parts' sum is not the dim, something else
    than sums and norms stands between the parts.
    """
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    totals, order = [], []
    for indices, batch in batches:
        own, total = _of_batch(network, batch, dims)
        for part, values in own.items():
            parts[part].append(values.cpu().numpy())
        totals.append(total.cpu().numpy())
        order.append(indices)
    back = np.argsort(np.concatenate(order))
    return {part: np.concatenate(each, 1)[:, back] for part, each in parts.items()}, np.concatenate(totals, 1)[:, back]


@dataclass
class _Seen:
    """What stood where in one pass: what was written (a leaf of the derivatives), and what the heads gave."""

    leaves: dict[str, Tensor] = field(default_factory=dict)
    offsets: list[Tensor] = field(default_factory=list)
    heads: dict[str, Tensor] = field(default_factory=dict)
    state: Tensor = field(default_factory=lambda: torch.empty(0))


@torch.inference_mode(mode=False)
def _of_batch(network: Network, batch: Mapping[str, Tensor], dims: Sequence[int]) -> tuple[dict[str, Tensor], Tensor]:
    seen = _Seen()
    # The norms first: `final` is what the last of them gives.
    with torch.enable_grad(), replaced(_held(network, seen)), hooked(network.model, _at_sites(network, seen)):
        classify(network, batch)
    leaves = [*seen.leaves.values(), *seen.offsets]
    by_dim = [_parts(network, seen, _slopes(seen.state[:, dim].sum(), leaves)) for dim in dims]
    stacked = {part: torch.stack([each[part] for each in by_dim]) for part in by_dim[0]}
    return stacked, seen.state.detach()[:, list(dims)].T.double()


def _at_sites(network: Network, seen: _Seen) -> dict[str, AtSite]:
    def cut(site: str) -> AtSite:
        def function(values: Tensor, mask: Tensor) -> Tensor:
            seen.leaves[site] = values.detach().requires_grad_()
            return seen.leaves[site]

        return function

    def keep(site: str) -> AtSite:
        def function(values: Tensor, mask: Tensor) -> None:
            seen.heads[site] = values.detach()

        return function

    def end(values: Tensor, mask: Tensor) -> None:
        seen.state = pool(values, mask, default_pooling(network))

    layers = range(network.num_layers)
    cuts = ["embed", *(f"layers.{layer}.{part}" for layer in layers for part in ("attn.out", "mlp.out"))]
    heads = [f"layers.{layer}.attn.heads" for layer in layers]
    return {**{site: cut(site) for site in cuts}, **{site: keep(site) for site in heads}, "final": end}


def _held(network: Network, seen: _Seen) -> dict[nn.Module, Callable[[Tensor, Tensor], Tensor]]:
    """For every norm, the same output made linear in the input, with b as a leaf of the derivatives."""

    def linear(norm: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
        def function(values: Tensor, normed: Tensor) -> Tensor:
            held = HeldNorm(norm.forward, values[(0,) * (values.ndim - 1)].detach())
            scale = held.scale(values.detach(), normed.detach()).to(values)
            offset = held.offset.to(values).detach().expand_as(values).clone().requires_grad_()
            seen.offsets.append(offset)
            return held.gain.to(values).detach() * held.centered(values) * scale + offset

        return function

    # The norms of queries and keys are of another size, and stand within a part.
    return {norm: linear(norm) for norm in network.model.base_model.modules() if _is_norm(norm, network.hidden_size)}


def _is_norm(module: nn.Module, hidden_size: int) -> bool:
    if "norm" not in type(module).__name__.lower() or any(module.children()):
        return False
    return all(values.numel() == hidden_size for values in module.parameters())


def _slopes(value: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """The derivative of the value by each leaf; zeros where no way leads."""
    found = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(leaf) if each is None else each for each, leaf in zip(found, leaves, strict=True)]


@torch.no_grad()
def _parts(network: Network, seen: _Seen, slopes: Sequence[Tensor]) -> dict[str, Tensor]:
    """What each part adds to the dim that these are the slopes of, in float64."""
    by_site = dict(zip(seen.leaves, slopes, strict=False))
    of_offsets = slopes[len(seen.leaves) :]
    layers = [f"layers.{layer}" for layer in range(network.num_layers)]
    outs = {layer: network.sites[f"{layer}.attn.out"].module for layer in layers}

    def along(slope: Tensor, values: Tensor) -> Tensor:
        # Some families have the tokens of all sentences in one row.
        return (slope.double() * values.double()).reshape(len(seen.state), -1).sum(1)

    def along_heads(layer: str) -> Tensor:
        slope = by_site[f"{layer}.attn.out"].double() @ weight(outs[layer]).double()
        summed = (slope * seen.heads[f"{layer}.attn.heads"].double()).sum(1)
        return summed.unflatten(1, (network.num_heads, -1)).sum(2)

    def along_bias(layer: str) -> Tensor:
        slope = by_site[f"{layer}.attn.out"]
        return along(slope, bias(outs[layer]).expand_as(slope))

    def along_mlp(layer: str) -> Tensor:
        return along(by_site[f"{layer}.mlp.out"], seen.leaves[f"{layer}.mlp.out"])

    norms = [along(slope, leaf) for slope, leaf in zip(of_offsets, seen.offsets, strict=True)]
    return {
        "embedding": along(by_site["embed"], seen.leaves["embed"]),
        "heads": torch.stack([along_heads(layer) for layer in layers], dim=1),
        "attention_bias": torch.stack([along_bias(layer) for layer in layers], dim=1),
        "mlp": torch.stack([along_mlp(layer) for layer in layers], dim=1),
        "norms": torch.stack(norms).sum(0),
    }
