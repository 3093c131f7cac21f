"""Whether a claim holds: the words for it, and all verdicts of a study in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from dimscope.report.page import Table

HOLDS, FAILS, UNTOLD, UNMEASURED = "holds", "does not hold", "cannot be told", "not measured"


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds here, and the numbers that say so, as a clause without its full stop."""

    claim: str
    told: str
    clause: str


def sentences(judged: Sequence[Verdict]) -> list[str]:
    """Tell each verdict in a sentence.

    >>> sentences([Verdict("It is so", HOLDS, "It is so, for it is")])
    ['It is so, for it is.']
    """
    return [f"{each.clause}." for each in judged]


def verdict_table(judged: Mapping[tuple[str, str], Sequence[Verdict]]) -> Table:
    """Give a row for each model and task, and a column for each claim.

    >>> verdict_table({("bert", "rte"): [Verdict("It is so", HOLDS, "for it is")]}).frame
      model task It is so
    0  bert  rte    holds
    """
    rows = [
        {"model": model, "task": task, **{each.claim: each.told for each in told}}
        for (model, task), told in judged.items()
    ]
    return Table("verdicts", pd.DataFrame(rows), "Which claims hold here.")
