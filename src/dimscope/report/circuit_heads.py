"""The circuit-reuse page on heads of the second task: each forced alone, and those that gather the content blocked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from dimscope.core.result import Number, Result, table
from dimscope.report import inside
from dimscope.report.circuit_claims import Tasks, find, short
from dimscope.report.page import Figure, Section, Table, file_name
from dimscope.report.tables import cell_of


def each_forced(result: Result, models: Sequence[str]) -> Section | None:
    """What forcing each head alone does, and whether it goes with what the head carries; none if not measured."""
    numbers: list[Number] = []
    rows, charts = [], []
    for model in models:
        task = Tasks.of(result.settings, model).reusing
        found = result.only(part="each head forced", model=model)
        numbers += found.numbers
        for each in found.numbers:
            if each.name == "change_of_logit_difference":
                head = f"{each.where['layer']}.{each.where['head']}"
                rows.append({"model": model, "head": head, "change of the logit difference": cell_of(each)})
        if correlation := find(found, "rank_correlation"):
            rows.append({"model": model, "head": "all: rank correlation", _WITH: cell_of(correlation)})
        if changes := result.arrays.get(f"{model} on {task}, each head forced/change"):
            charts.append(_drawn(changes.values, model, task))
    if not numbers:
        return None
    text = [
        "Each head of the model alone is made to look at the wrong answers. What that does to the answer's logit over "
        "the other's is held against what the head carries in the first task: its largest share, of either sign, in "
        "the stages whose paths end at the last token, where heads are forced. Both are taken by their size."
    ]
    caption = "The heads that change most, with Student's interval; of the correlation the bootstrap's over heads."
    frame = pd.DataFrame(rows).fillna("")
    return Section("Each head forced alone", text, [Table("each_forced", frame, caption, table(numbers))], "", charts)


_WITH = "with what heads carry in the first task"


def _drawn(changes: Float[np.ndarray, "layers heads"], model: str, task: str) -> Figure:
    title = f"Forced alone: {model}, {short(task)}"
    chart = inside.heat_map(
        changes,
        rows=list(map(str, range(len(changes)))),
        columns=list(map(str, range(changes.shape[1]))),
        row_title="layer",
        column_title="head",
        measure="change of the logit difference",
        title=title,
    )
    name = file_name("forced", model, task)
    return Figure(name, chart, f"{title}. What forcing each head does to the answer's logit over the other's.")


def blocking(result: Result, models: Sequence[str]) -> Section | None:
    """The second task's accuracy without the heads that gather its content; none if not measured."""
    numbers = [each for model in models for each in result.only(part="blocking", model=model).numbers]
    if not numbers:
        return None
    rows = []
    for model in models:
        found = result.only(part="blocking", model=model)
        if not found.numbers:
            continue
        row = {"model": model, "blocked": str(found.number("num_blocked_heads").where["heads"])}
        for among, title in (("outputs", "vocabulary"), ("options", "options")):
            for what, said in (("nothing", "before"), ("chosen heads", "after"), ("random heads", "random heads")):
                row[f"{said}, {title}"] = cell_of(found.number("accuracy", blocked=what, among=among))
        rows.append(row)
    text = [
        "Heads that tell the second task's movers where to look: the positive ones of its second stage, which in the "
        "published work gather the content of the question. What they send is zero at all tokens. The control is as "
        "many random other heads of the same layers."
    ]
    caption = "Accuracy on the second task; Wilson's interval, of random heads that of 95 % of the draws."
    return Section("The second task broken", text, [Table("blocking", pd.DataFrame(rows), caption, table(numbers))])
