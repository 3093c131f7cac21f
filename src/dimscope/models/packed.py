"""Linear maps whose weights are laid out once in the order in which the processor reads them.

oneDNN's layout is what torch's own compiler gives to frozen weights; in float32 its products are up to a third faster
than those of plain tensors. Where torch is built without oneDNN, the product is a plain one.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from dimscope.models.maps import Activation, goes_in_pairs, has_onednn, is_gelu, joined, mapped
from dimscope.numerics.kernels.bfloat16_products import gelu_of_product, product
from dimscope.numerics.kernels.pairs import laid_out

FEW_ROWS = 1024
"""Fewer rows than this are multiplied by plain weights: oneDNN keeps what it compiles for every number of rows."""


class PackedMaps:
    """Linear maps in `dtype`, each laid out at its first use; weights that change afterwards are not seen.

    >>> maps = PackedMaps(torch.float32)
    >>> identity = nn.Linear(2, 2)
    >>> _ = identity.weight.data.copy_(torch.eye(2)), identity.bias.data.zero_()
    >>> maps(torch.tensor([[1.0, 2.0]]), identity, identity)
    tensor([[1., 2., 1., 2.]])
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._laid_out: dict[tuple[Layout, tuple[nn.Linear, ...]], Callable[[Tensor], Tensor]] = {}

    @torch.no_grad()
    def __call__(self, values: Float[Tensor, "rows dims"], *maps: nn.Linear) -> Float[Tensor, "rows all_outputs"]:
        """Apply one or several maps, all in one product."""
        return self._applied(_layout(values, maps), values, maps)

    @torch.no_grad()
    def feed_forward(
        self, values: Float[Tensor, "rows dims"], wide: nn.Linear, activation: Activation, narrow: nn.Linear
    ) -> Float[Tensor, "rows dims"]:
        """Apply a map, an activation and a second map."""
        if is_gelu(activation) and _layout(values, (wide,)) is _in_pairs:
            return self(self._applied(_gelu_in_pairs, values, (wide,)), narrow)
        return self(activation(self(values, wide)), narrow)

    def _applied(self, layout: Layout, values: Tensor, maps: tuple[nn.Linear, ...]) -> Tensor:
        if (layout, maps) not in self._laid_out:
            dtype = self._dtype if layout in (_plainly, _by_onednn) else torch.float32
            weight, bias = (
                joined(parts, dtype) for parts in zip(*((each.weight, each.bias) for each in maps), strict=True)
            )
            self._laid_out[layout, maps] = layout(weight, bias)
        return self._laid_out[layout, maps](values)


Layout = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]
"""Lays a weight out, and gives the map by it and a bias."""


def _layout(values: Tensor, maps: tuple[nn.Linear, ...]) -> Layout:
    if goes_in_pairs(values, tuple(each.weight for each in maps)):
        return _in_pairs
    return _plainly if len(values) < FEW_ROWS or values.device.type != "cpu" else _by_onednn


def _in_pairs(weight: Tensor, bias: Tensor, multiplied: Callable[..., Tensor] = product) -> Callable[[Tensor], Tensor]:
    there, _ = laid_out(weight, num_threads=torch.get_num_threads())
    return lambda values: multiplied(values.contiguous(), there, bias, torch.get_num_threads())


def _gelu_in_pairs(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    return _in_pairs(weight, bias, gelu_of_product)


def _by_onednn(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    return partial(mapped, weight=_packed(weight), bias=bias)


def _plainly(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    return partial(mapped, weight=weight, bias=bias)


def with_packed_maps(model: PreTrainedModel) -> Any:
    """Give a model that shares everything with this one, hooks too, but multiplies by weights that are laid out.

    Those are a copy of the weights of its blocks (`packed_bytes` tells how much), which does not see later changes.
    Maps that are not float32 on a processor, or stand for something else already, are as they were.
    """
    shadows: dict[nn.Module, nn.Module] = {}
    inside = set(model.base_model.modules())

    def shadow(module: nn.Module) -> nn.Module:
        # A module that stands at several places stays one.
        if module not in shadows:
            shadows[module] = copy(module)
            if module in inside and isinstance(module, nn.Linear) and _can_be_packed(module):
                shadows[module].forward = _Product(module)
            shadows[module]._modules = {name: part and shadow(part) for name, part in module._modules.items()}
        return shadows[module]

    return shadow(model)


class _Product:
    """What a linear map gives, by its weight laid out."""

    def __init__(self, linear: nn.Linear) -> None:
        self._weight, self._bias = _packed(linear.weight.detach()), linear.bias
        self.num_bytes = linear.weight.nbytes

    def __call__(self, values: Float[Tensor, "*batch dims"]) -> Float[Tensor, "*batch outputs"]:
        return mapped(values, self._weight, self._bias)


def packed_bytes(model: nn.Module) -> int:
    """Give the memory of the weights that were laid out."""
    products = [vars(module).get("forward") for module in model.modules()]
    return sum(each.num_bytes for each in products if isinstance(each, _Product))


def _can_be_packed(module: nn.Module) -> bool:
    if (
        type(module) is not nn.Linear
        or "forward" in vars(module)
        or module.weight.device.type != "cpu"
        or module.weight.dtype != torch.float32
    ):
        return False
    return has_onednn(torch.float32)


def _packed(weight: Tensor) -> Tensor:
    """Lay a weight out for oneDNN, if torch has it and it multiplies this precision here."""
    return torch.ops.mkldnn._reorder_linear_weight(weight, None) if has_onednn(weight.dtype) else weight
