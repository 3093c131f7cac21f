"""What training and measuring will roughly cost, told beforehand: runs, disk and time.

A token takes about 2 operations for every parameter that it is multiplied with, and in training 4 more on the way
back (Kaplan et al. 2020, 2001.08361, section 2.1: C = 6 N per token). Attention and everything else is left out, and
the time is what the products would take at a usual share of the speed that this machine multiplies matrices with. It
tells minutes from hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import torch
from torch.utils.benchmark import Timer

FORWARD, TRAINING = 2, 6
"""Operations per token and parameter."""
USUAL_SHARE = 0.4
"""Of the speed of one large product, what a whole network reaches."""
SECONDS_PER_RUN = 0.5
"""Opening the model, permutations, writing."""
CHARACTERS_PER_TOKEN = 4
_ROWS = {"cpu": 1024, "cuda": 8192}


@dataclass(frozen=True)
class Cost:
    """What there is to do: operations are those of training and of all else."""

    num_runs: int
    num_sentences: int
    num_parameters: int
    disk_bytes: float
    training: float
    measuring: float

    def seconds(self, training_speed: float, measuring_speed: float) -> float:
        """Give the time at these speeds, in operations per second.

        >>> Cost(2, 0, 0, 0, training=8e9, measuring=4e9).seconds(4e10, 1e10)
        2.5
        """
        products = self.training / training_speed + self.measuring / measuring_speed
        return products / USUAL_SHARE + self.num_runs * SECONDS_PER_RUN


def total(costs: Sequence[Cost]) -> Cost:
    """Add up.

    >>> total([Cost(1, 2, 3, 4, 5, 6), Cost(1, 1, 1, 1, 1, 1)])
    Cost(num_runs=2, num_sentences=3, num_parameters=4, disk_bytes=5, training=6, measuring=7)
    """
    return Cost(*map(sum, zip(*map(astuple, costs), strict=True)))


def num_tokens(inputs: Iterable[tuple[str, ...]], max_length: int) -> float:
    """Guess the number of tokens of texts, or of pairs, from their letters.

    >>> num_tokens([("a film of twenty let",), ("good " * 1000,)], max_length=64)
    69.0
    """
    return sum(min(sum(map(len, texts)) / CHARACTERS_PER_TOKEN, max_length) for texts in inputs)


def speed(device: torch.device, dtype: torch.dtype, seconds: float = 0.2) -> float:
    """Measure how many operations per second the device multiplies two matrices with."""
    rows = _ROWS[device.type]
    matrix = torch.ones(rows, rows, device=device, dtype=dtype)
    timer = Timer("matrix @ matrix", globals={"matrix": matrix}, num_threads=torch.get_num_threads())
    return 2 * rows**3 / timer.blocked_autorange(min_run_time=seconds).median


def in_words(cost: Cost, seconds: float) -> str:
    """Tell the cost in a line.

    >>> in_words(Cost(36, 4000, 22_700_000, 3.6e8, 0, 0), seconds=400)
    'Ahead: 36 runs on 4,000 sentences, 22.7 million parameters; about 7 minutes and 360 MB. What is finished is kept.'
    """
    return (
        f"Ahead: {cost.num_runs} runs on {cost.num_sentences:,} sentences, {cost.num_parameters / 1e6:,.1f} million "
        f"parameters; about {_time(seconds)} and {cost.disk_bytes / 1e6:,.0f} MB. What is finished is kept."
    )


def _time(seconds: float) -> str:
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return "a minute"
