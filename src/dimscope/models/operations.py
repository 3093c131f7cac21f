"""Attention and dropout, each in the form that costs least.

Every one stands for a plain one of torch's and is tested against it.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import dropout, scaled_dot_product_attention

from dimscope.models.sentences import Sentences
from dimscope.numerics.kernels.attention import Tables, attend, attend_back
from dimscope.numerics.kernels.dropout import AT_ONCE, STEPS, draw_factors

_BITS = {2: torch.uint16, 4: torch.uint32}


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
