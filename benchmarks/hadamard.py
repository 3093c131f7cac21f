"""The Walsh–Hadamard transform of one long vector: against a vectorized butterfly, and against the memory.

The butterfly is the one that is written everywhere: for each of log₂ n levels, sums and differences of halves by torch,
stacked. The floor is a copy of as many numbers, out of buffers that no cache holds. Freed memory is kept, as in
training: what a transform gives is then written to pages that the process has.

python benchmarks/hadamard.py [--quick] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import torch
from frame.versus import Row, alternate, main
from torch import Tensor

from dimscope.core.memory import keep_freed_memory
from dimscope.numerics.hadamard import walsh_hadamard

CACHED_NOWHERE = 2**26
"""Numbers that the buffers of the copy hold together: 256 MiB."""


def compare(quick: bool) -> Iterator[Row]:
    keep_freed_memory()
    for power in (12, 16) if quick else (20, 24):
        n = 2**power
        x = torch.randn(n, generator=torch.Generator().manual_seed(0))
        buffers = cycle([(torch.zeros(n), torch.zeros(n)) for _ in range(max(CACHED_NOWHERE // n // 2, 1))])
        seconds = alternate(
            3 if quick or power > 20 else 41,
            ours=lambda x=x: walsh_hadamard(x),
            butterfly=lambda x=x: butterfly(x),
            copy=lambda buffers=buffers: torch.Tensor.copy_(*next(buffers)),
        )
        floor = {"floor": seconds["copy"], "floor_is": "one copy"}
        name = f"transform of 2^{power} float32"
        yield Row.speedup(f"{name}: butterfly", seconds["ours"], seconds["butterfly"], at_least=3, **floor)
        yield Row.cost(f"{name}: copy", seconds["ours"], seconds["copy"], at_most=4, **floor)


def butterfly(x: Tensor) -> Tensor:
    """Transform level by level."""
    half = 1
    while half < len(x):
        pairs = x.view(-1, 2, half)
        x = torch.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), dim=1).view(-1)
        half *= 2
    return x


if __name__ == "__main__":
    main(__file__, [compare])
