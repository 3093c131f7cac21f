"""The smallest number that suffices, between one that fails and one that passes: which to try next.

Bisection over a grid whose steps are equal ratios, then between two of its neighbors on the logarithm. Where what was
tried does not rise from failing to passing once and for all, the bracket is the upper end of the disorder: from its
passing end on, nothing that was tried fails.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Bracket:
    """The largest number that was found to fail, and the smallest that passed above it; none: there is no such."""

    failing: int | None
    passing: int | None

    @classmethod
    def of(cls, passes: Mapping[int, bool]) -> Self:
        """Read it from what was tried.

        >>> Bracket.of({10: False, 30: True, 100: False, 300: True, 1000: True})
        Bracket(failing=100, passing=300)
        """
        failing = max((tried for tried, passed in passes.items() if not passed), default=None)
        above = (tried for tried, passed in passes.items() if passed and (failing is None or tried > failing))
        return cls(failing, min(above, default=None))

    @property
    def ratio(self) -> float:
        """How much wider the passing end is than the failing one; infinite if one of them is missing."""
        return self.passing / self.failing if self.failing and self.passing else math.inf

    def holds(self, number: int) -> bool:
        """Tell whether the number lies strictly inside."""
        above = self.failing is None or number > self.failing
        return above and (self.passing is None or number < self.passing)


def log_grid(smallest: int, largest: int, per_decade: int) -> list[int]:
    """Give whole numbers whose ratios are equal but for rounding, both ends among them.

    >>> log_grid(10, 1000, per_decade=2)
    [10, 32, 100, 316, 1000]
    """
    num_steps = max(math.ceil(per_decade * math.log10(largest / smallest) - 1e-9), 1)
    return sorted({round(each) for each in np.geomspace(smallest, largest, num_steps + 1)})


def next_to_try(passes: Mapping[int, bool], grid: Sequence[int], ratio: float, every: bool = False) -> int | None:
    """Give the number to try next, or none if the bracket's ends are no further apart than `ratio`.

    `every` wants all of the grid to be tried; otherwise its middle comes first, and numbers outside the bracket never.

    >>> next_to_try({}, [10, 32, 100, 316, 1000], ratio=2.0)
    100
    >>> next_to_try({100: False, 316: True}, [10, 32, 100, 316, 1000], ratio=2.0)
    178
    """
    bracket = Bracket.of(passes)
    untried = [each for each in grid if each not in passes]
    if inside := [each for each in untried if bracket.holds(each)]:
        return inside[len(inside) // 2]
    if every and untried:
        return untried[len(untried) // 2]
    if bracket.failing is None or bracket.passing is None or bracket.ratio <= ratio:
        return None
    middle = round(math.sqrt(bracket.failing * bracket.passing))
    return middle if bracket.holds(middle) else None


def most_to_try(grid: Sequence[int], ratio: float, every: bool = False) -> int:
    """Give how many numbers are tried at most, if what is tried rises once from failing to passing.

    >>> most_to_try([10, 32, 100, 316, 1000, 3162, 10000], ratio=1.5)
    5
    """
    widest = max((upper / lower for lower, upper in pairwise(grid)), default=1.0)
    halvings = math.ceil(math.log2(math.log(widest) / math.log(ratio))) if widest > ratio else 0
    return (len(grid) if every else len(grid).bit_length()) + halvings
