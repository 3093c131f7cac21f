"""Named streams of random numbers: everything random comes from the bench's seed through one of these.

A stream is a counter-based generator (Philox) whose key is the SHA-256 of the seed and the name. Two streams are
independent, the order in which they are drawn does not matter, and the numbers are the same on every machine and
device, because they are always made on the CPU.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """Give the random numbers that `name` stands for under `seed`.

    >>> int(stream(1, "split").integers(1000)) == int(stream(1, "split").integers(1000))
    True
    """
    return np.random.Generator(np.random.Philox(key=_key(seed, name)))


def integer(seed: int, name: str) -> int:
    """Give one number in [0, 2^63) for generators that are not ours (torch's for dropout and new weights)."""
    return _key(seed, name) >> 65


def _key(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16], "big")
