"""How large a model is, read from the headers of its files alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from safetensors import safe_open

_LOOKED_UP = ("embed", "wte", "wpe")
"""Parts of the names of tensors out of which a token takes a row, instead of being multiplied with them."""


@dataclass(frozen=True)
class Size:
    """The number of all parameters, and of those that every token is multiplied with."""

    num_parameters: int
    num_multiplied: int


def size(folder: Path) -> Size:
    """Give the size of the model in a folder of safetensors; layers that share their weights count once."""
    counts = [each for path in sorted(folder.glob("*.safetensors")) for each in _counts(path)]
    multiplied = (count for name, count in counts if not any(part in name for part in _LOOKED_UP))
    return Size(sum(count for _, count in counts), sum(multiplied))


def _counts(path: Path) -> list[tuple[str, int]]:
    with safe_open(path, framework="numpy") as file:
        # A file's names are iterated over by its `keys` alone.
        return [(name, prod(file.get_slice(name).get_shape())) for name in file.keys()]  # noqa: SIM118
