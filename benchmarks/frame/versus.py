"""The frame of every benchmark: ours and the peer's by turns, a row for each comparison, a table, a line kept.

A benchmark is a file of `benchmarks/` run as `python benchmarks/X.py [--quick] [--json]`. It holds functions that
take `quick` (a small version that takes seconds) and give or yield a `Row`, and ends with `main(__file__, [function,
…])`. In such a function, `alternate(5, ours=f, peer=g)` gives the median seconds of each; `Row.speedup(name, ours,
peer, at_least=4.5)` says how many times faster we are and `Row.cost(name, ours, peer, at_most=2)` how many times as
much we take (seconds, MiB); `Row(…)` is for a figure that is no such ratio. `floor` is what no way of doing it can go
below, and `floor_is` says in words what was counted or timed for it. `peer("peft")` imports a rival, or leaves that
function out with a message; `frame.fresh.fresh(f, …)` gives a function's value and its peak memory in a process of
its own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from frame.machine import machine, versions

CONTRACT = ("name", "ratio", "target", "better", "ours", "peer", "unit")
"""What `--json` gives of each row."""

HEADINGS = ("what", "ours", "peer", "unit", "ratio", "target", "met", "floor", "above it")


class MissingPeer(Exception):
    """A rival that is not installed."""


@dataclass(frozen=True)
class Row:
    """One comparison: the ratio, what it is to be, and the two figures (both in `unit`) that it was made of.

    `better` says which way the ratio should go; `floor` is in `unit` too, and less than it cannot be had.
    """

    name: str
    ratio: float
    target: float
    better: Literal["higher", "lower"]
    ours: float
    peer: float
    unit: str
    floor: float | None = None
    floor_is: str = ""

    @classmethod
    def speedup(cls, name: str, ours: float, peer: float, *, at_least: float, unit: str = "s", **floor: Any) -> Row:
        """Tell how many times what we take the peer takes."""
        return cls(name, peer / ours, at_least, "higher", ours, peer, unit, **floor)

    @classmethod
    def cost(cls, name: str, ours: float, peer: float, *, at_most: float, unit: str = "s", **floor: Any) -> Row:
        """Tell how many times what the peer takes we take."""
        return cls(name, ours / peer, at_most, "lower", ours, peer, unit, **floor)

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio >= self.target if self.better == "higher" else self.ratio <= self.target

    @property
    def above_floor(self) -> float | None:
        """Our figure over the floor's."""
        return self.ours / self.floor if self.floor else None


Comparison = Callable[[bool], Row | Iterable[Row]]


def alternate(repeats: int, **works: Callable[[], object]) -> dict[str, float]:
    """Give the median seconds of each work, done by turns after each was done once unmeasured.

    >>> sorted(alternate(3, ours=lambda: None, peer=lambda: sum(range(9))))
    ['ours', 'peer']
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in seconds.items()}


def peer(module: str) -> ModuleType:
    """Import a rival.

    Raises:
        MissingPeer: it is not installed; `main` leaves the comparison out and goes on.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingPeer(f"{module} is not installed: pip install 'dimscope[compare]'") from error


def main(file: str, comparisons: Sequence[Comparison]) -> None:
    """Make the comparisons, print their table, and add them as a line to `results/` beside the file."""
    parser = argparse.ArgumentParser(prog=Path(file).name)
    parser.add_argument("--quick", action="store_true", help="a small version that takes seconds")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    asked = parser.parse_args()
    rows = list(_made(comparisons, asked.quick))
    print(table(rows))
    keep(Path(file), {"quick": asked.quick, "rows": [asdict(row) for row in rows]})
    if asked.json:
        print(json.dumps({"rows": [{key: getattr(row, key) for key in CONTRACT} for row in rows]}))


def table(rows: Sequence[Row]) -> str:
    """Give the rows as Markdown that is legible on a terminal too.

    >>> print(table([Row.cost("sort", 3.0, 2.0, at_most=2.0)]))
    | what | ours | peer | unit | ratio | target | met | floor | above it |
    | ---- | ---- | ---- | ---- | ----- | ------ | --- | ----- | -------- |
    | sort | 3    | 2    | s    | 1.5   | ≤ 2    | yes |       |          |
    """
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


def keep(file: Path, figures: dict[str, Any]) -> None:
    """Add the figures, and the machine, versions and time that they belong to, as a line to `results/`."""
    line = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        **figures,
    }
    folder = file.parent / "results"
    folder.mkdir(exist_ok=True)
    with (folder / f"{file.stem}.jsonl").open("a") as lines:
        lines.write(json.dumps(line, ensure_ascii=False) + "\n")


def _made(comparisons: Sequence[Comparison], quick: bool) -> Iterator[Row]:
    for compare in comparisons:
        try:
            made = compare(quick)
            for row in [made] if isinstance(made, Row) else made:
                # Large comparisons take many minutes each: what is known is said at once.
                print(f"{row.name}: {row.ratio:.3g} (target {row.target:g})", file=sys.stderr, flush=True)
                yield row
        except MissingPeer as missing:
            print(f"left out, {compare.__name__}: {missing}", file=sys.stderr)


def _cells(row: Row) -> tuple[str, ...]:
    sign = "≥" if row.better == "higher" else "≤"
    floor = f"{row.floor:.4g} ({row.floor_is})" if row.floor else ""
    above = f"{row.above_floor:.2f}×" if row.above_floor else ""
    figures = (f"{row.ours:.4g}", f"{row.peer:.4g}", row.unit, f"{row.ratio:.4g}", f"{sign} {row.target:g}")
    return (row.name, *figures, "yes" if row.met else "NO", floor, above)
