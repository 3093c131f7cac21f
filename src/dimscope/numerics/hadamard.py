"""The Walsh–Hadamard transform H x of vectors whose length is a power of two, in n log₂ n additions.

H is the matrix of Sylvester 1867 (Phil. Mag. 34(232):461): H₁ = [1], H₂ₙ = H₂ ⊗ Hₙ, not normalized, so that H H = n I.
The fast transform (Fino & Algazi 1976, IEEE Trans. Comput. C-25(11):1142) takes one factor H₂ at a time: sums and
differences of numbers that lie 1, 2, 4, … apart. Every way of ours adds in this order, so all give the same bits.
"""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor

from dimscope.core.errors import UserError
from dimscope.numerics.kernels.butterflies import transform

COMPILED = (torch.float32, torch.float64)
"""What `butterflies` is for, on the processor; all else is computed level by level by torch."""


def walsh_hadamard(x: Shaped[Tensor, "*batch n"]) -> Shaped[Tensor, "*batch n"]:
    """Give H x for each vector, rows of H in Sylvester's order; whole numbers below 2²⁴ (float64: 2⁵³) stay exact.

    Raises:
        UserError: n is no power of two.

    >>> walsh_hadamard(torch.tensor([1.0, 0.0, 0.0, 2.0]))
    tensor([ 3., -1., -1.,  3.])
    """
    n = x.shape[-1]
    if n < 1 or n & (n - 1):
        raise UserError(f"a Walsh–Hadamard transform needs a length that is a power of two, got {n}")
    if x.device.type != "cpu" or x.dtype not in COMPILED or x.requires_grad:
        return level_by_level(x)
    x, out = x.contiguous(), torch.empty(x.shape, dtype=x.dtype)
    vectors = x.numel() // n
    transform(x.view(vectors, n).numpy(), out.view(vectors, n).numpy(), torch.get_num_threads())
    return out


def level_by_level(x: Shaped[Tensor, "*batch n"]) -> Shaped[Tensor, "*batch n"]:
    """Give the same by plain torch: anywhere, of any kind of number, and with gradients.

    >>> level_by_level(torch.tensor([1, 0, 0, 2]))
    tensor([ 3, -1, -1,  3])
    """
    out, stride = x.clone(), 1
    while stride < x.shape[-1]:
        first, second = out.unflatten(-1, (-1, 2, stride)).unbind(-2)
        out = torch.stack((first + second, first - second), dim=-2).flatten(-3)
        stride *= 2
    return out
