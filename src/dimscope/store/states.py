"""Stored sentence states: shards of safetensors and a manifest, opened without loading all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from safetensors import safe_open
from safetensors.numpy import save

from dimscope.core.errors import UserError
from dimscope.store.files import new_folder, sha256, write_bytes, write_json

SENTENCES_PER_SHARD = 2048
"""A shard is laid out in memory once more when it is written."""
_SAME_WHEN_AVERAGED = ("task", "split", "site", "pooling")


def save_states(folder: Path, states: Float32[np.ndarray, "sentences dims"], about: Mapping[str, Any]) -> None:
    """Write states in shards with the hash of each, whole or not at all; `about` says what they are the states of."""
    with new_folder(folder, replace=True) as new:
        shards: list[dict[str, Any]] = []
        for start in range(0, len(states), SENTENCES_PER_SHARD):
            rows = np.ascontiguousarray(states[start : start + SENTENCES_PER_SHARD])
            path = new / f"states-{len(shards):05d}.safetensors"
            write_bytes(path, save({"states": rows}))
            shards.append({"file": path.name, "num_sentences": len(rows), "sha256": sha256(path)})
        manifest = {"schema": 1, "about": dict(about), "num_dims": states.shape[1], "shards": shards}
        write_json(new / "manifest.json", manifest)


@dataclass(frozen=True)
class States:
    """States on disk. `states[10:20]` reads just these sentences; `numpy()` and `torch()` read all."""

    folder: Path
    about: Mapping[str, Any]
    num_dims: int
    shards: tuple[Mapping[str, Any], ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Give the number of sentences and of dimensions."""
        return sum(shard["num_sentences"] for shard in self.shards), self.num_dims

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Float32[np.ndarray, "sentences dims"]:
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise IndexError("states are read in order: take a slice without a step, and index what it gives")
        parts = list(self._parts(start, stop))
        return np.concatenate(parts) if parts else np.empty((0, self.num_dims), np.float32)

    def numpy(self) -> Float32[np.ndarray, "sentences dims"]:
        """Read all states."""
        return self[:]

    def torch(self) -> Float32[torch.Tensor, "sentences dims"]:
        """Read all states as a tensor."""
        return torch.from_numpy(self[:])

    def is_intact(self) -> bool:
        """Tell whether every shard is there and has the hash that the manifest names."""
        paths = [(self.folder / shard["file"], shard["sha256"]) for shard in self.shards]
        return all(path.exists() and sha256(path) == expected for path, expected in paths)

    def _parts(self, start: int, stop: int) -> Iterator[np.ndarray]:
        offset = 0
        for shard in self.shards:
            low, high = max(start - offset, 0), min(stop - offset, shard["num_sentences"])
            if low < high:
                with safe_open(self.folder / shard["file"], framework="numpy") as file:
                    yield file.get_slice("states")[low:high]
            offset += shard["num_sentences"]


def open_states(folder: Path | str) -> States:
    """Open stored states, reading only their manifest.

    Raises:
        UserError: the folder holds no states, or its manifest is damaged.
    """
    path = Path(folder) / "manifest.json"
    if not path.is_file():
        raise UserError(f"wanted a folder of states (with a manifest.json), found none at {folder}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return States(Path(folder), manifest["about"], manifest["num_dims"], tuple(manifest["shards"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: take the states again") from error


def average(several: Sequence[States]) -> Float32[np.ndarray, "sentences dims"]:
    """Average states of the same sentences, taken under several seeds, sentence by sentence, a shard at a time.

    Raises:
        UserError: there are none, one is damaged, or they are not of the same sentences at the same site.
    """
    if not several:
        raise UserError("wanted at least one folder of states to average, got none")
    damaged = [str(each.folder) for each in several if not each.is_intact()]
    if damaged:
        raise UserError(f"shards are missing or damaged in {', '.join(damaged)}: take these states again")
    differing = {str([each.shape, *(each.about.get(name) for name in _SAME_WHEN_AVERAGED)]) for each in several}
    if len(differing) > 1:
        raise UserError(
            f"only states of the same sentences and site can be averaged; these differ: {sorted(differing)}"
        )
    total = np.empty(several[0].shape, np.float32)
    for start in range(0, len(total), SENTENCES_PER_SHARD):
        rows = slice(start, start + SENTENCES_PER_SHARD)
        total[rows] = np.mean([each[rows] for each in several], axis=0, dtype=np.float64)
    return total
