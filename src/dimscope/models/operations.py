"""The few operations in which a transformer's training spends its time, each in the form that costs least.

Every one of them stands for a plain one of torch's and is tested against it. None is chosen by approximation: what
differs is which passes over memory are made, and in which precision a product is taken.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import dropout, linear, scaled_dot_product_attention

from dimscope.models.sentences import Sentences
from dimscope.numerics.kernels.attention import Tables, attend, attend_back
from dimscope.numerics.kernels.bfloat16_products import fits, product, turned_product
from dimscope.numerics.kernels.dropout import AT_ONCE, STEPS, draw_factors
from dimscope.numerics.kernels.pairs import Panels, adds_pairs, laid_out

_BITS = {2: torch.uint16, 4: torch.uint32}


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
        if not any(ctx.needs_input_grad[1:]):
            return of_values, *[None] * 2 * len(ctx.outputs)
        of_weight, of_bias = turned_product(gradient, values, torch.get_num_threads())
        return of_values, *of_weight.split(ctx.outputs), *of_bias.split(ctx.outputs)


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


def attention(
    joint: Float[Tensor, "rows 3 heads dims"], sentences: Sentences, dropped: float
) -> Float[Tensor, "rows heads dims"]:
    """Attend with queries to keys and values, the parts of `joint`, each sentence to its own rows.

    A fraction `dropped` of the probabilities is dropped.
    """
    if joint.device.type != "cpu":
        return _attention_with_padding(joint, sentences, dropped)
    tables = sentences.tables(joint.shape[2])
    noise = kept((tables.num_numbers,), dropped, torch.float32) if dropped else None
    return _CompiledAttention.apply(joint, tables, noise)


class _CompiledAttention(torch.autograd.Function):
    """The attention of `numerics/kernels/attention.py`, for processors.

    torch's own wants padding, splits and joins heads in walks over memory of their own, and can drop but by its
    plainest way.
    """

    @staticmethod
    def forward(ctx: Any, joint: Tensor, tables: Tables, noise: Tensor | None) -> Tensor:
        given, keeps = (joint.contiguous(), tables, noise, torch.get_num_threads()), ctx.needs_input_grad[0]
        out, probabilities = attend(*given, keeps_probabilities=keeps)
        if keeps:
            ctx.save_for_backward(given[0], noise, probabilities)
            ctx.tables = tables
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        joint, noise, probabilities = ctx.saved_tensors
        given = gradient.contiguous(), joint, ctx.tables, noise, probabilities
        return attend_back(*given, torch.get_num_threads()), None, None


def _attention_with_padding(joint: Tensor, sentences: Sentences, dropped: float) -> Tensor:
    """The same by torch's own, for other devices."""
    query, key, value = sentences.padded(joint).transpose(1, 3).unbind(2)
    mask = None if sentences.is_full else sentences.mask.bool()[:, None, None]
    return sentences.rows(scaled_dot_product_attention(query, key, value, mask, dropped).transpose(1, 2))


def attention_of_one(
    query: Float[Tensor, "batch heads dims"],
    values: Float[Tensor, "rows width"],
    key: nn.Linear,
    value: nn.Linear,
    sentences: Sentences,
    dropped: float,
) -> Float[Tensor, "batch heads dims"]:
    """Attend with one query for each sentence to the keys and values of its rows, which are never formed.

    q · (Wx + b) is (Wᵀq) · x + q · b, and Σ p (Wx + b) is W (Σ p x) + b Σ p: with W go as many vectors as there are
    queries, not tokens. All is float32, but for what is given.
    """
    heads, asking, padded = query.shape[1:], query.float(), sentences.padded(values.float())
    key_weight, key_bias, value_weight, value_bias = (
        each.unflatten(0, heads) for linear_map in (key, value) for each in (linear_map.weight, linear_map.bias)
    )
    asked = (asking.transpose(0, 1) @ key_weight).transpose(0, 1)
    scores = asked @ padded.mT + (asking * key_bias).sum(-1, keepdim=True)
    is_padding = sentences.mask.unsqueeze(1) == 0
    shares = drop((scores / math.sqrt(heads[1])).masked_fill(is_padding, -math.inf).softmax(-1), dropped)
    found = ((shares @ padded).transpose(0, 1) @ value_weight.mT).transpose(0, 1)
    return (found + shares.sum(-1, keepdim=True) * value_bias).to(query.dtype)


def drop(values: Tensor, fraction: float) -> Tensor:
    """Put 0 in the place of this fraction of the values, and scale up the others to keep the mean."""
    if not fraction:
        return values
    if values.device.type == "cuda":
        return dropout(values, fraction)
    return values * kept(values.shape, fraction, values.dtype)


def kept(shape: tuple[int, ...], dropped: float, dtype: torch.dtype) -> Tensor:
    """Draw what dropout multiplies with, on the processor: 0, or the factor that keeps the mean.

    The fraction is rounded to a multiple of 2^-16 (0.1 becomes 0.100006), and the factor is that fraction's own. The
    generator's seed is drawn by torch's, so that whoever seeds torch draws the same.
    """
    num_values = math.prod(shape)
    num_dropped = min(max(round(dropped * STEPS), 1), STEPS - 1)
    factors = torch.empty(-(-num_values // AT_ONCE) * AT_ONCE, dtype=dtype)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    draw_factors(factors, seed, num_dropped, _factor_bits(num_dropped, dtype), torch.get_num_threads())
    return factors[:num_values].view(shape)


@cache
def _factor_bits(num_dropped: int, dtype: torch.dtype) -> int:
    """Give the bits of the factor that keeps the mean."""
    return int(torch.tensor(STEPS / (STEPS - num_dropped), dtype=dtype).view(_BITS[dtype.itemsize]))
