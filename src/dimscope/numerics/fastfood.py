"""Fastfood, H G Π H B z: a random map from d numbers to a vector of any size, in n log n time and n numbers of memory.

Le, Sarlós & Smola 2013 (Fastfood, ICML, section 3): B random signs, Π a permutation, G Gaussian, H the Walsh–Hadamard
transform of n, the next power of two. Scaled, as in the code of Aghajanyan et al. 2020 (2012.13255), so that
‖P z‖ ≈ ‖z‖ whatever the size. We refuse d > n, where that code drops the numbers that do not fit, and our transpose is
the exact one, where its gradient is too small by a factor of n.

P z is the same to the last bit everywhere, because our transform adds up in one order everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from dimscope.core.errors import UserError
from dimscope.numerics.hadamard import walsh_hadamard
from dimscope.numerics.sums import sum_of_squares


@dataclass(frozen=True, eq=False)
class Fastfood:
    """The map for one vector; of B, only the signs of the d numbers matter, for the rest of n is zero."""

    signs: Float32[Tensor, " d"]
    order: Int64[Tensor, " n"]
    gaussian: Float32[Tensor, " n"]
    size: int
    scale: float

    @classmethod
    def drawn(cls, size: int, d: int, rng: np.random.Generator, device: torch.device) -> Self:
        """Draw it.

        Raises:
            UserError: d is larger than the next power of two of the size.
        """
        n = 2 ** (size - 1).bit_length()
        if d > n:
            raise UserError(
                f"fastfood cannot tell {d:,} trained numbers apart in a vector of {size:,} parameters, but at most "
                f"{n:,}: take fewer, let small tensors not move, or take the projection one_hot or fastfood_whole"
            )
        signs = rng.choice([-1, 1], d).astype(np.float32)
        order = rng.permutation(n)
        gaussian = rng.standard_normal(n, dtype=np.float32)
        return cls(
            torch.from_numpy(signs).to(device),
            torch.from_numpy(order).to(device),
            torch.from_numpy(gaussian).to(device),
            size,
            scale=1 / math.sqrt(sum_of_squares(gaussian) * size),
        )

    def apply(self, z: Float32[Tensor, " d"]) -> Float32[Tensor, " size"]:
        """Give P z."""
        padded = torch.zeros_like(self.gaussian)
        padded[: len(z)] = z * self.signs
        mixed = walsh_hadamard(padded)[self.order] * self.gaussian
        return walsh_hadamard(mixed)[: self.size] * self.scale

    def transpose(self, gradient: Float32[Tensor, " size"]) -> Float32[Tensor, " d"]:
        """Give Pᵀ g."""
        padded = torch.zeros_like(self.gaussian)
        padded[: self.size] = gradient
        mixed = torch.empty_like(padded)
        mixed[self.order] = walsh_hadamard(padded) * self.gaussian
        return walsh_hadamard(mixed)[: len(self.signs)] * self.signs * self.scale
