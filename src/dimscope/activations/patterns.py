"""What every token attends to: attention patterns, read and set in the layers that are asked for.

A pattern exists only where the softmax is written out. In models whose attention is PyTorch's fused kernel
(`scaled_dot_product_attention`), its definition takes the kernel's place in these layers within the block: the same
numbers to rounding. Nothing in the model's configuration is touched, and other threads keep the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import dropout, scaled_dot_product_attention, softmax
from torch.overrides import TorchFunctionMode

from dimscope.activations.hooks import AtSite, hooked
from dimscope.activations.places import Places
from dimscope.core.errors import UnknownName, UserError
from dimscope.models.classify import classify
from dimscope.models.load import Network

Pattern = Float[Tensor, "batch heads queries keys"]
_SOFTMAX = (softmax, torch.softmax, Tensor.softmax)


@torch.inference_mode()
def attention_patterns(network: Network, batch: Mapping[str, Tensor], layers: Sequence[int]) -> dict[int, Pattern]:
    """Give the patterns of some layers; queries and keys are counted from each sentence's first real token.

    What would be padding is zero. Heads that share keys have a pattern each.

    >>> from dimscope.models.load import load
    >>> network = load("tiny/llama")
    >>> batch = network.tokenizer(["so very sad"], return_tensors="pt")
    >>> attention_patterns(network, batch, [1])[1].sum(-1).allclose(torch.ones(1, 4, batch["input_ids"].shape[1]))
    True

    Raises:
        UnknownName: the model has no such layer.
        UserError: its attention is computed in a way not known here.
    """
    seen: dict[int, Pattern] = {}

    def keep(layer: int) -> AtSite:
        def function(rows: Tensor, mask: Tensor) -> None:
            seen[layer] = _from_first_token(rows.unflatten(2, (-1, mask.shape[1])).transpose(1, 2), mask)

        return function

    with patterned(network, {layer: keep(layer) for layer in layers}):
        classify(network, batch)
    missing = [layer for layer in layers if layer not in seen]
    if missing:
        raise UserError(f"{network.name}: the attention of layer {missing[0]} is computed in a way not known here")
    return seen


@contextmanager
def patterned(network: Network, functions: Mapping[int, AtSite]) -> Iterator[None]:
    """Within the block, call each function at its layer's pattern in every forward pass that this thread makes.

    A function takes the rows of all heads side by side [batch, queries, heads * keys] and the mask, and may give
    others.

    Raises:
        UnknownName: the model has no such layer.
    """
    for layer in functions:
        if not 0 <= layer < network.num_layers:
            raise UnknownName("layer", str(layer), map(str, range(network.num_layers)))
    mode = _Patterns(functions)
    ends = {"embed": mode.entering(None)}  # the pass before may have been left in the middle of a layer
    ends |= {f"layers.{layer}.in": mode.entering(layer) for layer in functions}
    ends |= {f"layers.{layer}.out": mode.entering(None) for layer in functions}
    with hooked(network.model, ends), mode:
        yield


class _Patterns(TorchFunctionMode):
    """Stands between model and PyTorch, in this thread: sees every softmax of attention, and changes what it gives."""

    def __init__(self, functions: Mapping[int, AtSite]) -> None:
        super().__init__()
        self._functions = functions
        self._layer: int | None = None
        self._mask = torch.ones(0, 0)

    def entering(self, layer: int | None) -> AtSite:
        """Give the function that notes, at a block's input or output, which block computes next."""

        def function(values: Tensor, mask: Tensor) -> None:
            self._layer, self._mask = layer, mask

        return function

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if self._layer is None:
            return func(*args, **(kwargs or {}))
        if func is scaled_dot_product_attention:
            return _attention(self._changed, *args, **(kwargs or {}))
        values = func(*args, **(kwargs or {}))
        return self._changed(values) if func in _SOFTMAX and values.ndim == 4 else values

    def _changed(self, pattern: Pattern) -> Pattern:
        assert self._layer is not None
        rows = pattern.transpose(1, 2)
        new = self._functions[self._layer](rows.flatten(2), self._mask)
        return pattern if new is None else new.reshape(rows.shape).transpose(1, 2).contiguous()


def _attention(
    changed: Callable[[Pattern], Pattern],
    query: Float[Tensor, "batch heads queries dims"],
    key: Float[Tensor, "batch kv_heads keys dims"],
    value: Float[Tensor, "batch kv_heads keys value_dims"],
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Float[Tensor, "batch heads queries value_dims"]:
    """PyTorch's documented definition of its kernel, with the pattern changed on its way."""
    if enable_gqa:
        key, value = (each.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for each in (key, value))
    scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None and attn_mask.dtype != torch.bool:
        scores = scores + attn_mask
    elif attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    # A token of the padding may see nothing at all: the kernel gives it zeros.
    blind = (scores == -math.inf).all(dim=-1, keepdim=True)
    pattern = changed(scores.masked_fill(blind, 0).softmax(dim=-1).masked_fill(blind, 0))
    return dropout(pattern, dropout_p) @ value


def _from_first_token(pattern: Pattern, mask: Tensor) -> Pattern:
    """Turn every sentence until its first real token stands at 0, and clear what is padding."""
    places = Places.of("all", mask, "first")
    order = (places.columns + mask.argmax(1, keepdim=True)) % mask.shape[1]
    by_query = pattern.gather(2, order[:, None, :, None].expand_as(pattern))
    turned = by_query.gather(3, order[:, None, None, :].expand_as(pattern))
    real = mask.gather(1, order).to(pattern.dtype)
    return turned * real[:, None, :, None] * real[:, None, None, :]
