"""The Walsh–Hadamard transform H x of vectors whose length is a power of two, in n log n additions or thereabouts.

H is the matrix of Sylvester 1867 (Phil. Mag. 34(232):461): H₁ = [1], H₂ₙ = H₂ ⊗ Hₙ, not normalized, so that H H = n I.
The fast transform (Fino & Algazi 1976, IEEE Trans. Comput. C-25(11):1142) takes one factor H₂ at a time and so walks
over the vector log₂ n times. We take factors H₈ and H₁₆ as small matrix products, which does more arithmetic but walks
three to four times less; a long vector is transformed in blocks that stay in the processor's cache.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from scipy.linalg import hadamard
from torch import Tensor

from dimscope.core.errors import UserError

BLOCK = 2**20
"""Numbers transformed at a time: two such blocks stay in a processor's caches."""
COLUMNS = 1024
"""Columns of a product whose rows lie far apart in memory; more would not stay in the innermost cache."""


def walsh_hadamard(x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Give H x for each vector, rows of H in Sylvester's order; whole numbers below 2²⁴ (float64: 2⁵³) stay exact.

    Raises:
        UserError: n is no power of two.

    >>> walsh_hadamard(torch.tensor([1.0, 0.0, 0.0, 2.0]))
    tensor([ 3., -1., -1.,  3.])
    """
    n = x.shape[-1]
    if n < 1 or n & (n - 1):
        raise UserError(f"a Walsh–Hadamard transform needs a length that is a power of two, got {n}")
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    spare = torch.empty(min(BLOCK, x.numel()), dtype=x.dtype, device=x.device)
    for source, target in zip(x.reshape(-1).split(BLOCK), out.view(-1).split(BLOCK), strict=True):
        _transform(source, target, min(n, BLOCK), spare)
    stride = BLOCK
    for radix in _radices(n // BLOCK) if n > BLOCK else []:
        for rows in out.view(-1, radix, stride):
            _transform_across(rows, spare)
        stride *= radix
    return out


def _transform(source: Tensor, target: Tensor, n: int, spare: Tensor) -> None:
    """Put the transforms of consecutive vectors of length n into `target`, going to and fro between it and a spare."""
    radices = _radices(n)
    places = [target, spare[: source.numel()]]
    for step, radix in enumerate(radices):
        into = places[(len(radices) - 1 - step) % 2]
        _multiply(source, radix, math.prod(radices[:step]), into)
        source = into


def _multiply(source: Tensor, radix: int, stride: int, into: Tensor) -> None:
    """Transform every `radix` numbers that lie `stride` apart."""
    matrix = _matrix(radix, source.dtype, source.device)
    if stride == 1:
        torch.mm(source.view(-1, radix), matrix, out=into.view(-1, radix))
        return
    groups = source.view(-1, radix, stride)
    torch.bmm(matrix.expand(len(groups), radix, radix), groups, out=into.view_as(groups))


def _transform_across(rows: Tensor, spare: Tensor) -> None:
    """Transform the columns of a matrix in place, a block at a time."""
    matrix = _matrix(len(rows), rows.dtype, rows.device)
    for columns in rows.split(BLOCK // len(rows), dim=1):
        groups = columns.unflatten(1, (-1, COLUMNS)).transpose(0, 1)
        transformed = torch.bmm(matrix.expand(len(groups), -1, -1), groups, out=spare.view(groups.shape))
        groups.copy_(transformed)


def _radices(n: int) -> list[int]:
    """Split n into few factors of at most 16, the larger ones innermost, where products are as fast as sums of pairs.

    >>> _radices(2**18), _radices(2**5), _radices(1)
    ([16, 16, 16, 8, 8], [8, 4], [1])
    """
    bits = n.bit_length() - 1
    num_factors = max(math.ceil(bits / 4), 1)
    return [2 ** ((bits + num_factors - 1 - index) // num_factors) for index in range(num_factors)]


@lru_cache
def _matrix(order: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(hadamard(order), dtype=dtype, device=device)
