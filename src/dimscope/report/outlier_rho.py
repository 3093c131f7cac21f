"""Two sections of the outlier-dimension study's page, about ρ: what turning it does, and which parts write it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dimscope.core.result import Number, Result, table
from dimscope.report.inside import dose_response, heat_map
from dimscope.report.outlier_sections import Cell, averages
from dimscope.report.page import Figure, Section, Table, file_name
from dimscope.report.tables import wide


def editing(result: Result, cells: Sequence[Cell]) -> Section:
    """Whether moving ρ flips decisions: dose and response, beside random directions."""
    told = averages(result, "turned_fraction")
    described = Table(
        "editing",
        wide(told, ["model", "task", "direction"], "dose"),
        "Share of held-out sentences whose class is another than before, averages over seeds.",
        exact=table(told),
    )
    charts = []
    for model, task in cells:
        rows = pd.DataFrame(map(_point, averages(result, "turned_fraction", model=model, task=task)))
        chart = dose_response(
            rows,
            dose_title="dose in standard deviations",
            measure="share of decisions flipped",
            title=f"Does editing ρ flip the decisions? {model}, {task}",
        )
        charts.append(
            Figure(file_name("editing", model, task), chart, "Decisions flipped by moving the final state along ρ.")
        )
    text = [
        "Before the classifier reads the final state, ρ is moved by so many of its standard deviations over the "
        "training sentences, to either side, in all sentences alike. The control is random directions, each moved by "
        "as many standard deviations of its own."
    ]
    reading = (
        "The farther from the middle, the more ρ was moved. If ρ decides, the orange line rises at once and far above "
        "that of random directions; about as many decisions flip as there are sentences on the side that ρ is moved "
        "away from."
    )
    return Section("Editing ρ", text, [described], reading, charts)


def _point(number: Number) -> dict[str, str | float]:
    group = {"principal": "ρ", "random": "random directions"}[str(number.where["direction"])]
    return {"dose": float(number.where["dose"]), "value": number.value, **number.ends, "group": group}


def writers(result: Result, cells: Sequence[Cell]) -> Section:
    """Which heads and MLPs write ρ, directly."""
    told = [each for name in ("variance_sum", "class_sum") for each in averages(result, name)]
    concentrated = averages(result, "largest_share")
    tables = [
        Table(
            "writers",
            wide(told, ["model", "task", "part"]),
            "Share of each kind of part in the variance of ρ, and in what of it tells the classes apart; averages over "
            "seeds.",
            exact=table(told),
        ),
        Table(
            "writers_largest",
            wide(concentrated, ["model", "task"], "dimension"),
            "The largest share of one head or MLP in the variance of ρ, and in that of other dimensions; averages over "
            "seeds.",
            exact=table(concentrated),
        ),
    ]
    charts = []
    told_apart = [cell for cell in cells if f"{'/'.join(cell)}/mlp_variance_share" in result.arrays]
    for model, task in told_apart:
        heads, mlp = (result.arrays[f"{model}/{task}/{part}_variance_share"].values for part in ("heads", "mlp"))
        chart = heat_map(
            np.column_stack([heads, mlp])[::-1],
            rows=[str(layer) for layer in range(len(mlp))][::-1],
            columns=[*(str(head) for head in range(heads.shape[1])), "MLP"],
            row_title="layer",
            column_title="head",
            measure="share",
            title=f"Where ρ is written: {model}, {task}",
        )
        charts.append(
            Figure(
                file_name("writers", model, task),
                chart,
                "Direct share of every head and MLP in ρ's variance, averaged over seeds.",
            )
        )
    text = [
        "The state is the sum of what all parts write into the stream, normed on the way. While the norms' scales are "
        "held, ρ is a sum too, over heads, MLPs, the embedding and the norms' own biases, and their shares in its "
        "variance add up to 1. What a part does through later parts is not in its share."
    ]
    reading = (
        "A row for each layer, the last at the top; a column for each head, and one for the MLP. A strong orange tile "
        "writes much of what ρ says of a sentence, a blue one works against it."
    )
    return Section("Where ρ is written", text, tables, reading, charts)
