"""Random linear maps P from d trained numbers to all coordinates of a network's tensors, and their transposes.

- `one_hot`: each coordinate follows one number, columns are orthonormal: `dimscope.numerics.one_hot`. ‖P z‖ = ‖z‖.
- `fastfood`: H G Π H B of `dimscope.numerics.fastfood`, for each tensor by itself, so that ‖P z‖ ≈ ‖z‖ *for each*;
  `fastfood_whole`: one for all coordinates together.
- `dense` and `sparse`: columns of length 1 over the whole network, Gaussian, or ±1 with density 1/√D: Li et al. 2018
  (1804.08838, section 2 and the supplement on projections).

P z is the same to the last bit on every machine and device: it takes only products and sums of two numbers at a time in
a fixed order. Pᵀ g, which only training needs, is not.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from dimscope.core import seeds
from dimscope.core.errors import UserError
from dimscope.core.provenance import digest
from dimscope.numerics.fastfood import Fastfood
from dimscope.numerics.one_hot import OneHot
from dimscope.numerics.sums import sum_of_squares, sum_rows

WIDTH = 2**20
"""Numbers of `dense` that are used at a time, so that they stay in a cache."""
LARGEST = 2**27
"""Numbers other than zero that `dense` and `sparse` may hold: half a gigabyte."""

Kind = Literal["one_hot", "fastfood", "fastfood_whole", "dense", "sparse"]
VERSIONS: dict[Kind, int] = {"one_hot": 1, "fastfood": 2, "fastfood_whole": 2, "dense": 1, "sparse": 1}
"""Raised when the same seed comes to stand for another map, be it in the last bits of P z."""
Trained = Float32[Tensor, " d"]
Piece = tuple[int, int, Float32[Tensor, " coordinates"]]
"""The number of a tensor, the first of consecutive coordinates in it, and a value for each."""


class Projection(Protocol):
    """P, for tensors of known sizes; every piece of P z is used before the next is asked for."""

    def apply(self, z: Trained) -> Iterator[Piece]:
        """Give P z, a piece after the other; together they cover every coordinate once."""

    def transpose(self, gradients: Sequence[Tensor | None]) -> Trained:
        """Give Pᵀ g for one flat gradient per tensor; none counts as zeros."""

    def frozen(self) -> list[Tensor]:
        """Give all that was drawn."""


def draw(kind: Kind, sizes: Sequence[int], d: int, seed: int, device: torch.device | str = "cpu") -> Projection:
    """Draw P from the seed for tensors of these sizes.

    Raises:
        UserError: there are more trained numbers than the map can tell apart, or the map would be too large.

    >>> projection = draw("one_hot", [3, 2], d=2, seed=1)
    >>> round(sum(values.square().sum().item() for _, _, values in projection.apply(torch.tensor([0.0, 2.0]))), 5)
    4.0
    """
    rng = seeds.stream(seed, f"projection/{kind}")
    device = torch.device(device)
    if not 1 <= d <= sum(sizes):
        raise UserError(f"{sum(sizes):,} parameters cannot be moved by {d:,} trained numbers: take at most as many")
    if kind == "one_hot":
        return OneHot.drawn(sizes, d, rng, device)
    if kind == "dense":
        return Dense.drawn(sizes, d, rng, device)
    if kind == "sparse":
        return Sparse.drawn(sizes, d, rng, device)
    groups = [[*range(len(sizes))]] if kind == "fastfood_whole" else [[tensor] for tensor in range(len(sizes))]
    return Stacked.drawn(sizes, groups, d, rng, device)


def frozen_digest(projection: Projection) -> str:
    """Give the hash of all that was drawn, by which a map drawn anew is known to be the same."""
    drawn = (tensor.cpu().contiguous().numpy() for tensor in projection.frozen())
    return digest([hashlib.sha256(array.data).hexdigest() for array in drawn])


@dataclass(frozen=True, eq=False)
class Stacked:
    """An independent fastfood map for each group of tensors."""

    sizes: Sequence[int]
    groups: Sequence[Sequence[int]]
    maps: Sequence[Fastfood]

    @classmethod
    def drawn(
        cls,
        sizes: Sequence[int],
        groups: Sequence[Sequence[int]],
        d: int,
        rng: np.random.Generator,
        device: torch.device,
    ) -> Self:
        """Draw an independent map for each group."""
        maps = [Fastfood.drawn(sum(sizes[tensor] for tensor in group), d, rng, device) for group in groups]
        return cls(sizes, groups, maps)

    def apply(self, z: Trained) -> Iterator[Piece]:
        """Give P z, a tensor at a time."""
        for group, one in zip(self.groups, self.maps, strict=True):
            values = one.apply(z).split([self.sizes[tensor] for tensor in group])
            yield from ((tensor, 0, each) for tensor, each in zip(group, values, strict=True))

    def transpose(self, gradients: Sequence[Tensor | None]) -> Trained:
        """Give Pᵀ g."""
        total = torch.zeros_like(self.maps[0].signs)
        for group, one in zip(self.groups, self.maps, strict=True):
            total += one.transpose(_joined(gradients, self.sizes, group, total))
        return total

    def frozen(self) -> list[Tensor]:
        """Give signs, permutations and Gaussian numbers."""
        return [each for one in self.maps for each in (one.signs, one.order, one.gaussian)]


@dataclass(frozen=True, eq=False)
class Dense:
    """All of P, its columns lying as rows."""

    sizes: Sequence[int]
    columns: Float32[Tensor, "d coordinates"]

    @classmethod
    def drawn(cls, sizes: Sequence[int], d: int, rng: np.random.Generator, device: torch.device) -> Self:
        """Draw Gaussian columns and bring them to length 1."""
        _require_small("dense", d * sum(sizes))
        columns = rng.standard_normal((d, sum(sizes)), dtype=np.float32)
        for column in columns:
            column /= np.float32(math.sqrt(sum_of_squares(column)))
        return cls(sizes, torch.from_numpy(columns).to(device))

    def apply(self, z: Trained) -> Iterator[Piece]:
        """Give P z, as many coordinates at a time as stay in the cache."""
        width = max(WIDTH // len(z), 1)
        for tensor, columns in enumerate(self.columns.split(list(self.sizes), dim=1)):
            for start in range(0, columns.shape[1], width):
                terms = columns[:, start : start + width] * z[:, None]
                yield tensor, start, sum_rows(terms)

    def transpose(self, gradients: Sequence[Tensor | None]) -> Trained:
        """Give Pᵀ g."""
        parts = zip(self.columns.split(list(self.sizes), dim=1), gradients, strict=True)
        products = [columns @ gradient for columns, gradient in parts if gradient is not None]
        return torch.stack(products).sum(0)

    def frozen(self) -> list[Tensor]:
        """Give P."""
        return [self.columns]


@dataclass(frozen=True, eq=False)
class Sparse:
    """The entries of P that are not zero, and the rounds in which no two of them have the same coordinate."""

    coordinates: Int64[Tensor, " entries"]
    numbers: Int64[Tensor, " entries"]
    values: Float32[Tensor, " entries"]
    sizes: Sequence[int]
    d: int
    rounds: Sequence[int]

    @classmethod
    def drawn(cls, sizes: Sequence[int], d: int, rng: np.random.Generator, device: torch.device) -> Self:
        """Draw for every number its coordinates and signs; at least one each, so that no column is empty."""
        _require_small("sparse", round(d * math.sqrt(sum(sizes))))
        counts = np.maximum(rng.binomial(sum(sizes), 1 / math.sqrt(sum(sizes)), size=d), 1)
        coordinates = np.concatenate([rng.choice(sum(sizes), count, replace=False) for count in counts])
        numbers = np.repeat(np.arange(d), counts)
        values = rng.choice([-1, 1], len(numbers)) / np.sqrt(counts)[numbers]
        by_coordinate = np.lexsort((numbers, coordinates))
        ascending = coordinates[by_coordinate]
        turns = np.empty(len(numbers), np.int64)
        turns[by_coordinate] = np.arange(len(numbers)) - np.searchsorted(ascending, ascending)
        order = np.lexsort((coordinates, turns))
        return cls(
            torch.from_numpy(coordinates[order]).to(device),
            torch.from_numpy(numbers[order]).to(device),
            torch.from_numpy(values[order].astype(np.float32)).to(device),
            sizes,
            d,
            np.bincount(turns).tolist(),
        )

    def apply(self, z: Trained) -> Iterator[Piece]:
        """Give P z; a round after the other, because the order of sums within one scatter is not fixed."""
        moved = torch.zeros(sum(self.sizes), device=z.device)
        terms = z[self.numbers] * self.values
        for coordinates, each in zip(self.coordinates.split(self.rounds), terms.split(self.rounds), strict=True):
            moved[coordinates] = moved[coordinates] + each
        yield from ((tensor, 0, values) for tensor, values in enumerate(moved.split(list(self.sizes))))

    def transpose(self, gradients: Sequence[Tensor | None]) -> Trained:
        """Give Pᵀ g."""
        total = torch.zeros(self.d, device=self.values.device)
        gradient = _joined(gradients, self.sizes, range(len(self.sizes)), total)
        return total.index_add_(0, self.numbers, gradient[self.coordinates] * self.values)

    def frozen(self) -> list[Tensor]:
        """Give places and values of the entries."""
        return [self.coordinates, self.numbers, self.values]


def _require_small(kind: str, num_entries: int) -> None:
    if num_entries > LARGEST:
        raise UserError(
            f"the projection {kind!r} would hold {num_entries:,} numbers, and {LARGEST:,} is its limit: take one_hot, "
            "or let fewer parameters move"
        )


def _joined(gradients: Sequence[Tensor | None], sizes: Sequence[int], tensors: Sequence[int], like: Tensor) -> Tensor:
    given = ((gradients[tensor], sizes[tensor]) for tensor in tensors)
    return torch.cat([like.new_zeros(size) if gradient is None else gradient for gradient, size in given])
