"""A random map P with one ±1/√count in each row, orthonormal columns, and the speed of memory.

Every coordinate follows one of d numbers and every number moves equally many coordinates, to within one, as in the
sharing of Li et al. 2025 (Uni-LoRA, 2506.00799, section 3); so PᵀP = I and ‖P z‖ = ‖z‖. They draw a place for each
coordinate, which needs an index as large as the network, and a jump through memory for each of its parameters. We draw
one tile of about a million coordinates and cover the network with it, each time turned by a random offset; every
stretch of 65,536 coordinates has a random sign of its own besides. What is lost: if coordinates i and j of different
tiles follow one number, their neighbors i + 1 and j + 1 follow one too. Within a tile, d coordinates in a row that
begin at a multiple of d follow d different numbers, which drawn independently they would not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Float32, Int32
from torch import Tensor

TILE = 2**20
"""Coordinates that are drawn: more than the matrices of small models have, few enough for a cache."""
STRETCH = 2**16
"""Coordinates whose signs are turned together."""


class _Run(NamedTuple):
    """Consecutive coordinates of a tensor that lie on consecutive places of a tile."""

    tensor: int
    start: int
    place: int
    length: int
    sign: int


@dataclass(frozen=True, eq=False)
class OneHot:
    """A tile is one permutation of the d numbers after another; `places` says where each of these has each number."""

    numbers: Int32[Tensor, " places"]
    places: Int32[Tensor, " places"]
    signs: Float32[Tensor, " places"]
    lengths: Float32[Tensor, " d"]
    runs: Sequence[_Run]

    @classmethod
    def drawn(cls, sizes: Sequence[int], d: int, rng: np.random.Generator, device: torch.device) -> Self:
        """Draw the tile and lay it over the tensors; the last, partial one is not turned, so that all is balanced."""
        segments = min(max(TILE // d, 1), math.ceil(sum(sizes) / d))
        order = rng.permuted(np.tile(np.arange(d), (segments, 1)), axis=1)
        places = order.argsort(axis=1) + d * np.arange(segments)[:, None]
        signs = rng.choice([-1, 1], order.size).astype(np.float32)
        num_whole, rest = divmod(sum(sizes), order.size)
        turns = [*rng.integers(order.size, size=num_whole).tolist(), 0]
        stretch_signs = rng.choice([-1, 1], math.ceil(sum(sizes) / STRETCH)).tolist()
        counts = num_whole * segments + np.bincount(order.reshape(-1)[:rest], minlength=d)
        lengths = (1 / np.sqrt(counts)).astype(np.float32)
        return cls(
            torch.from_numpy(order.astype(np.int32).ravel()).to(device),
            torch.from_numpy(places.astype(np.int32).ravel()).to(device),
            torch.from_numpy(signs).to(device),
            torch.from_numpy(lengths).to(device),
            _runs(sizes, order.size, turns, stretch_signs),
        )

    def apply(self, z: Float32[Tensor, " d"]) -> Iterator[tuple[int, int, Tensor]]:
        """Give P z in pieces that are views of one tile."""
        tile = (z * self.lengths).index_select(0, self.numbers) * self.signs
        signed = {1: tile, -1: -tile}
        for run in self.runs:
            yield run.tensor, run.start, signed[run.sign][run.place : run.place + run.length]

    def transpose(self, gradients: Sequence[Tensor | None]) -> Float32[Tensor, " d"]:
        """Give Pᵀ g: the tiles are added up, then the places of each number."""
        tile = torch.zeros_like(self.signs)
        for run in self.runs:
            gradient = gradients[run.tensor]
            if gradient is not None:
                part = gradient[run.start : run.start + run.length]
                tile[run.place : run.place + run.length].add_(part, alpha=run.sign)
        return (tile * self.signs).index_select(0, self.places).view(-1, len(self.lengths)).sum(0) * self.lengths

    def frozen(self) -> list[Tensor]:
        """Give the tile, and how it was laid."""
        return [self.numbers, self.signs, self.lengths, torch.tensor(self.runs)]


def _runs(sizes: Sequence[int], tile: int, turns: Sequence[int], signs: Sequence[int]) -> list[_Run]:
    """Cut all coordinates where a tensor, a tile or a stretch ends, or a turned tile begins anew."""
    runs, at = [], 0
    for tensor, size in enumerate(sizes):
        start = 0
        while start < size:
            number, within = divmod(at, tile)
            place = (within + turns[number]) % tile
            length = min(size - start, tile - within, tile - place, STRETCH - at % STRETCH)
            runs.append(_Run(tensor, start, place, length, signs[at // STRETCH]))
            start, at = start + length, at + length
    return runs
