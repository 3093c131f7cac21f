"""Which sites a pattern such as 'layers.*.out' stands for."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from dimscope.core.errors import UnknownName


def sites_matching(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """Give the names that a pattern stands for, in the order of `names`, each once.

    A `*` stays between two dots, so that 'layers.*.out' is every layer's output and not its attention's too.

    Raises:
        UnknownName: a pattern stands for no name.

    >>> sites_matching(["layers.*.out"], ["layers.0.out", "layers.0.attn.out", "layers.1.out", "final"])
    ['layers.0.out', 'layers.1.out']
    """
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in names):
            raise UnknownName("site", pattern, names)
    return [name for name in names if any(_matches(name, pattern) for pattern in patterns)]


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = name.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
