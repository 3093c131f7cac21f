"""A section of the outlier-dimension study's page: what the classifier loses without dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from dimscope.core.result import Number, Result, table
from dimscope.report import figures
from dimscope.report.outlier_sections import Cell, averages
from dimscope.report.page import Figure, Section, Table, file_name
from dimscope.report.tables import wide


def ablation(result: Result, cells: Sequence[Cell]) -> Section:
    """What the classifier loses without them."""
    numbers = _accuracies(result)
    rows = ["model", "task", "place", "ablated"]
    cells_of_table = wide(_under_each_fill(numbers), rows, columns="fill")
    described = Table("ablation", cells_of_table, "Accuracy, averages over seeds.", exact=table(numbers))
    charts = []
    for model, task in cells:
        own = _accuracies(result, model=model, task=task)
        intact = {each.where["place"]: each.value for each in own if each.where["ablated"] == "nothing"}
        shown = pd.DataFrame(
            {
                "ablated": str(each.where["ablated"]),
                "fill": str(each.where["fill"]),
                "place": str(each.where["place"]),
                "value": each.value,
                **each.ends,
                "reference": intact[each.where["place"]],
            }
            for each in own
            if each.where["ablated"] != "nothing"
        )
        chart = figures.ablation(shown, title=f"What is lost without them: {model}, {task}")
        charts.append(
            Figure(file_name("ablation", model, task), chart, "Accuracy after dimensions lost what they say.")
        )
    text = [
        "Dimensions were set to their mean, to their value in another sentence, or to zero, at the final state or "
        "after every layer (there on fewer sentences). Zero also moves the state to where no sentence lies; read the "
        "others first."
    ]
    reading = (
        "A panel for each place. Each dot is what is left of the accuracy when the dimensions named at the left lose "
        "what they say; the dashed line is the accuracy when nothing is taken out. What matters is how far left of "
        "the line a dot lies, and whether as many random dimensions lie there too."
    )
    return Section("Ablations", text, [described], reading, charts)


def _accuracies(result: Result, **where: str) -> list[Number]:
    return [each for each in averages(result, "accuracy", **where) if "ablated" in each.where]


def _under_each_fill(numbers: Sequence[Number]) -> list[Number]:
    """Place by place; where nothing is ablated nothing is filled in, and the number stands under every fill."""
    fills = list(dict.fromkeys(each.where["fill"] for each in numbers if each.where["ablated"] != "nothing"))
    places = list(dict.fromkeys((each.where["model"], each.where["task"], each.where["place"]) for each in numbers))
    return sorted(
        (
            replace(each, where={**each.where, "fill": fill})
            for each in numbers
            for fill in (fills if each.where["ablated"] == "nothing" else [each.where["fill"]])
        ),
        key=lambda each: places.index((each.where["model"], each.where["task"], each.where["place"])),
    )
