"""Where queries, keys and values come out of a block's linear maps, each its own or all fused into one.

Of a fused map a part is so many outputs of every group: GPT-2 has one group, queries | keys | values; GPT-NeoX and
BLOOM have one a head, and Falcon one for all heads that share their keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dimscope.models.blocks import Map, Maps, size

_LETTERS = {"q": "query", "k": "key", "v": "value"}
_FUSED_NAMES = ("c_attn", "query_key_value", "Wqkv", "qkv_proj")
# The others keep all queries together, then all keys, then all values.
_GROUPED = ("query_key_value", "gpt_bigcode")
# Their heads share more than keys and values, such as a norm over all of them, or lie in an order of their own.
_OTHERWISE = ("bitnet", "codegen", "diffllama", "olmo2", "olmo3")


@dataclass(frozen=True)
class Part:
    """The columns `start` to `stop` of each of so many equal groups of a map's outputs."""

    num_groups: int
    start: int
    stop: int

    def of(self, outputs: Float[Tensor, "*batch outputs"]) -> Float[Tensor, "*batch dims"]:
        """Give the part of the outputs.

        >>> Part(num_groups=2, start=1, stop=3).of(torch.arange(8))
        tensor([1, 2, 5, 6])
        """
        return outputs.unflatten(-1, (self.num_groups, -1))[..., self.start : self.stop].flatten(-2)

    def put(
        self, values: Float[Tensor, "*batch dims"], outputs: Float[Tensor, "*batch outputs"]
    ) -> Float[Tensor, "*batch outputs"]:
        """Give the outputs with other values in this part.

        >>> Part(num_groups=2, start=1, stop=3).put(torch.zeros(4, dtype=torch.long), torch.arange(8))
        tensor([0, 0, 0, 3, 4, 0, 0, 7])
        """
        whole = outputs.clone(memory_format=torch.contiguous_format)
        groups = whole.unflatten(-1, (self.num_groups, -1))
        groups[..., self.start : self.stop] = values.unflatten(-1, (self.num_groups, -1))
        return whole


@dataclass(frozen=True)
class Projection:
    """Queries, keys or values: the map that gives them, which part of its outputs they are, and how many heads."""

    linear: Map
    part: Part | None
    num_heads: int


def projections(maps: Maps, num_heads: int, family: str) -> dict[str, Projection]:
    """Give the projections 'q', 'k' and 'v' of a block; none where its attention is built otherwise."""
    named = {name.rpartition(".")[2]: linear for name, linear in maps.attention.items()}
    # DeBERTa's maps of relative positions stand beside.
    named = {name: linear for name, linear in named.items() if not name.startswith("pos_")}
    _, num_inputs = size(maps.attention_out)
    if family in _OTHERWISE or num_inputs % num_heads:
        return {}
    head_dim = num_inputs // num_heads
    return _separate(named, num_heads, head_dim) or _fused(named, num_heads, head_dim, family)


def _separate(named: Mapping[str, Map], num_heads: int, head_dim: int) -> dict[str, Projection]:
    told = {short: [name for name in named if _stands_for(name, short)] for short in _LETTERS}
    if len(named) != len(_LETTERS) or any(len(names) != 1 for names in told.values()):
        return {}
    linear = {short: named[name] for short, (name,) in told.items()}
    num_outputs = {short: size(each)[0] for short, each in linear.items()}
    # A query map that gives a gate too, or latent keys, would be larger or smaller.
    num_queries, num_keys, num_values = num_outputs.values()
    if num_queries != num_heads * head_dim or num_keys != num_values or num_keys % head_dim:
        return {}
    return {short: Projection(each, None, num_outputs[short] // head_dim) for short, each in linear.items()}


def _stands_for(name: str, short: str) -> bool:
    long = _LETTERS[short]
    return name in (short, long, f"{short}_proj", f"{long}_proj", f"{short}_lin")


def _fused(named: Mapping[str, Map], num_heads: int, head_dim: int, family: str) -> dict[str, Projection]:
    if len(named) != 1 or not set(named) <= set(_FUSED_NAMES):
        return {}
    ((name, linear),) = named.items()
    num_pairs, rest = divmod(size(linear)[0] - num_heads * head_dim, 2 * head_dim)
    if rest or num_pairs < 1 or num_heads % num_pairs:
        return {}
    num_groups = num_pairs if name in _GROUPED or family in _GROUPED else 1
    counts = {"q": num_heads, "k": num_pairs, "v": num_pairs}
    widths = [count * head_dim // num_groups for count in counts.values()]
    starts = [0, widths[0], widths[0] + widths[1]]
    return {
        short: Projection(linear, Part(num_groups, start, start + width), counts[short])
        for short, start, width in zip(counts, starts, widths, strict=True)
    }
