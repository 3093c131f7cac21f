"""One vocabulary for the places inside a model whose values can be read and changed, for all families.

    embed              what the first block receives                      hidden_states[0] of Hugging Face
    layers.L.in        what block L receives, L = 0, 1, …                 [L]
    layers.L.attn.in   what its queries, keys and values are computed from
    layers.L.attn.q    its queries, head after head, as their linear map gives them: before any norm or rotation
    layers.L.attn.k    its keys, likewise; where heads share their keys, there are fewer
    layers.L.attn.v    its values, likewise
    layers.L.attn.heads  what its heads give, head after head: the input of the output projection
    layers.L.attn.out  its attention's output projection, before the residual sum and any norm
    layers.L.mlp.in    what its MLP is computed from
    layers.L.mlp.hidden  the input of its second linear map
    layers.L.mlp.out   its second linear map, before the residual sum and any norm
    layers.L.out       what block L gives                                 [L + 1], save the last
    final              what the classifier reads, after a final norm      [-1]
    logits             one row per sentence

A family whose attention is built in a way not known here has no attn.in, q, k and v.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn
from transformers import PreTrainedModel

from dimscope.core.errors import UnknownName
from dimscope.models.blocks import Maps, blocks, final_norm, head, maps, size
from dimscope.models.projections import Part, projections


@dataclass(frozen=True)
class Site:
    """The input or output of a module, at its `call`-th call in a pass: ALBERT's blocks are one module.

    `others` are modules that take the very same input, so that a change must reach them too. `part` says which of the
    outputs it is, None for all. `num_heads` is 0 where the dims are not those of heads, one after the other.
    """

    name: str
    module: nn.Module
    side: Literal["input", "output"]
    call: int = 0
    others: tuple[nn.Module, ...] = ()
    part: Part | None = None
    num_heads: int = 0


@dataclass(frozen=True)
class Sites:
    """The sites of one model by name; `post_norm` says whether `final` comes after a norm of its own."""

    by_name: dict[str, Site]
    num_layers: int
    post_norm: bool

    @property
    def names(self) -> list[str]:
        """All names, in the order in which they are reached."""
        return list(self.by_name)

    def __contains__(self, name: str) -> bool:
        """Tell whether the model has a site of that name."""
        return name in self.by_name

    def __getitem__(self, name: str) -> Site:
        """Give the site of that name.

        Raises:
            UnknownName: the model has no such site; the message names those that it has.
        """
        if name in self.by_name:
            return self.by_name[name]
        hint = f"Layers L are counted from 0 to {self.num_layers - 1}."
        known = dict.fromkeys(re.sub(r"layers\.\d+", "layers.L", each) for each in self.names)
        raise UnknownName("site", name, known, hint)


def sites(model: PreTrainedModel) -> Sites:
    """Find the sites of a sequence classifier or language model.

    Raises:
        UserError: its blocks, or an attention or linear map in one, are not where other families have them.
    """
    stack, found_blocks = blocks(model)
    found = [Site("embed", found_blocks[0][0], "input")]
    for layer, (block, call) in enumerate(found_blocks):
        inside = _inside(maps(block, model.config.hidden_size), model)
        ends = Site("in", block, "input"), Site("out", block, "output")
        found += [replace(site, name=f"layers.{layer}.{site.name}", call=call) for site in (ends[0], *inside, ends[1])]
    norm = final_norm(model, stack)
    last_block, last_call = found_blocks[-1]
    found += [
        Site("final", norm, "output") if norm else Site("final", last_block, "output", last_call),
        Site("logits", head(model), "output"),
    ]
    return Sites({site.name: site for site in found}, len(found_blocks), post_norm=norm is not None)


def _inside(found: Maps, model: PreTrainedModel) -> Iterator[Site]:
    """Give the sites inside a block, in the order in which they are reached."""
    num_heads = model.config.num_attention_heads
    parts = projections(found, num_heads, model.config.model_type)
    if parts:
        first, *others = dict.fromkeys(part.linear for part in parts.values())
        yield Site("attn.in", first, "input", others=tuple(others))
    for name, each in parts.items():
        yield Site(f"attn.{name}", each.linear, "output", part=each.part, num_heads=each.num_heads)
    yield Site("attn.heads", found.attention_out, "input", num_heads=num_heads)
    yield Site("attn.out", found.attention_out, "output")
    readers = [linear for linear in found.mlp.values() if size(linear)[1] == model.config.hidden_size]
    if readers:
        yield Site("mlp.in", readers[0], "input", others=tuple(readers[1:]))
    yield Site("mlp.hidden", found.mlp_out, "input")
    yield Site("mlp.out", found.mlp_out, "output")
