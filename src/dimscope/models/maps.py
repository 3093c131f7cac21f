"""Linear maps of networks that are trained, and what their gradients need: each in the form that costs least.

Every one stands for a plain one of torch's and is tested against it. What differs is which passes over memory are made,
and in which precision a product is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear
from transformers.activations import GELUActivation

from dimscope.numerics.kernels.bfloat16_products import (
    fits,
    product,
    product_and_gelu,
    product_times_slope,
    turned_product,
)
from dimscope.numerics.kernels.pairs import Panels, adds_pairs, laid_out

Activation = Callable[[Tensor], Tensor]


class TrainedMaps:
    """Linear maps whose weights change; products are taken in the precision of the values.

    >>> identity = nn.Linear(2, 2)
    >>> _ = identity.weight.data.copy_(torch.eye(2)), identity.bias.data.zero_()
    >>> TrainedMaps()(torch.tensor([[1.0, 2.0]]), identity, identity).tolist()
    [[1.0, 2.0, 1.0, 2.0]]
    """

    def __call__(self, values: Float[Tensor, "rows dims"], *maps: nn.Linear) -> Float[Tensor, "rows all_outputs"]:
        """Apply one or several maps, all in one product."""
        return joint_linear(values, tuple(each.weight for each in maps), tuple(each.bias for each in maps))

    def feed_forward(
        self, values: Float[Tensor, "rows dims"], wide: nn.Linear, activation: Activation, narrow: nn.Linear
    ) -> Float[Tensor, "rows dims"]:
        """Apply a map, an activation and a second map that fits the first there and back."""
        if is_gelu(activation) and goes_in_pairs(values, (wide.weight,)):
            return _FeedForwardInPairs.apply(values, wide.weight, wide.bias, narrow.weight, narrow.bias)
        return self(activation(self(values, wide)), narrow)


def is_gelu(activation: Activation) -> bool:
    """Tell whether this is GELU, and not one of its approximations."""
    return type(activation) is GELUActivation


def joint_linear(
    values: Float[Tensor, "tokens dims"],
    weights: tuple[Float[Tensor, "_outputs dims"], ...],
    biases: tuple[Float[Tensor, " _outputs"], ...],
) -> Float[Tensor, "tokens all_outputs"]:
    """Apply several linear maps in one product, taken in the precision of `values`; gradients come in the weights' own.

    >>> weight = torch.eye(2)
    >>> joint_linear(torch.tensor([[1.0, 2.0]]), (weight, 3 * weight), (torch.zeros(2), torch.ones(2)))
    tensor([[1., 2., 4., 7.]])
    """
    way = _JointLinearInPairs if goes_in_pairs(values, weights) else _JointLinear
    return way.apply(values, *weights, *biases)


class _JointLinear(torch.autograd.Function):
    """The copies in lower precision are made once, and no gradient is split, joined or converted twice."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, *parameters: Tensor) -> Tensor:
        weights, biases = _halves(parameters)
        weight, bias = joined(weights, values.dtype), joined(biases, values.dtype)
        ctx.save_for_backward(values, weight)
        ctx.outputs = [len(part) for part in weights]
        return mapped(values, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, weight = ctx.saved_tensors
        of_values = gradient @ weight if ctx.needs_input_grad[0] else None
        nothing = [None] * len(ctx.outputs)
        weights_wanted, biases_wanted = (any(part) for part in _halves(ctx.needs_input_grad[1:]))
        of_weights = (gradient.T @ values).float().split(ctx.outputs) if weights_wanted else nothing
        of_biases = gradient.sum(0).float().split(ctx.outputs) if biases_wanted else nothing
        return of_values, *of_weights, *of_biases


class _JointLinearInPairs(torch.autograd.Function):
    """The same by the products of `numerics/kernels/bfloat16_products.py`, whose gradients of weights are float32."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, *parameters: Tensor) -> Tensor:
        weights, biases = _halves(parameters)
        there, back = laid_out(*weights, num_threads=torch.get_num_threads())
        values = values.contiguous()
        ctx.save_for_backward(values, back.pairs)
        ctx.outputs = [len(part) for part in weights]
        return product(values, there, joined(biases, torch.float32), torch.get_num_threads())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, back = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_values = product(gradient, Panels(back, values.shape[1]), None, torch.get_num_threads())
        of_weight, of_bias = _of_map(gradient, values, any(ctx.needs_input_grad[1:]))
        if of_weight is None or of_bias is None:
            return of_values, *[None] * 2 * len(ctx.outputs)
        return of_values, *of_weight.split(ctx.outputs), *of_bias.split(ctx.outputs)


class _FeedForwardInPairs(torch.autograd.Function):
    """Two such maps, and GELU between, which is taken while the sums of the first product are in registers."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, wide: Tensor, wide_bias: Tensor, narrow: Tensor, narrow_bias: Tensor
    ) -> Tensor:
        num_threads, values = torch.get_num_threads(), values.contiguous()
        there, back = laid_out(wide, num_threads=num_threads)
        inactive, active = product_and_gelu(values, there, wide_bias, num_threads)
        narrow_there, narrow_back = laid_out(narrow, num_threads=num_threads)
        ctx.save_for_backward(values, inactive, active, back.pairs, narrow_back.pairs)
        return product(active, narrow_there, narrow_bias, num_threads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, inactive, active, back, narrow_back = ctx.saved_tensors
        num_threads, gradient = torch.get_num_threads(), gradient.contiguous()
        of_wide, of_narrow = _halves(ctx.needs_input_grad[1:])
        of_inactive = product_times_slope(gradient, Panels(narrow_back, active.shape[1]), inactive, num_threads)
        return (
            product(of_inactive, Panels(back, values.shape[1]), None, num_threads),
            *_of_map(of_inactive, values, any(of_wide)),
            *_of_map(gradient, active, any(of_narrow)),
        )


def _of_map(gradient: Tensor, values: Tensor, is_wanted: bool) -> tuple[Tensor | None, Tensor | None]:
    """Give the gradients of a map's weight and bias."""
    return turned_product(gradient, values, torch.get_num_threads()) if is_wanted else (None, None)


def goes_in_pairs(values: Tensor, weights: tuple[Tensor, ...]) -> bool:
    """Tell whether this processor has products of pairs, and they serve these values and weights, there and back."""
    if values.dtype != torch.bfloat16 or values.device.type != "cpu" or not adds_pairs():
        return False
    return all(weight.dtype == torch.float32 and fits(len(values), *weight.shape) for weight in weights)


def mapped(
    values: Float[Tensor, "*batch dims"], weight: Float[Tensor, "outputs dims"], bias: Float[Tensor, " outputs"] | None
) -> Float[Tensor, "*batch outputs"]:
    """Apply a linear map without a gradient: its bias is added within the product, wherever oneDNN does that.

    In bfloat16 torch's own first writes the bias where the sums will stand, which takes a tenth of the product's time.
    """
    if weight.is_mkldnn or (
        values.dtype == torch.bfloat16 and values.device.type == "cpu" and has_onednn(torch.bfloat16)
    ):
        return torch.ops.mkldnn._linear_pointwise(values, weight, bias, "none", [], "")
    return linear(values, weight, bias)


def has_onednn(dtype: torch.dtype) -> bool:
    """Tell whether torch has oneDNN, and it multiplies this precision here."""
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _halves(parts: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return parts[: len(parts) // 2], parts[len(parts) // 2 :]


def joined(parts: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
    """Give the rows of all parts in one tensor of this dtype; a single part that has it stays as it is.

    >>> joined((torch.ones(1), torch.zeros(2)), torch.float64)
    tensor([1., 0., 0.], dtype=torch.float64)
    """
    if len(parts) == 1:
        return parts[0].to(dtype)
    joined = parts[0].new_empty((sum(map(len, parts)), *parts[0].shape[1:]), dtype=dtype)
    for place, part in zip(joined.split([len(part) for part in parts]), parts, strict=True):
        place.copy_(part)
    return joined
