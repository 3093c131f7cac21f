"""The d-curve: accuracy against the number of trained numbers, the level to reach, and the bracket as a table."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import pandas as pd

from dimscope.core.result import Result
from dimscope.report.theme import ACCENT, NEUTRAL, PALETTE, Chart, message, themed

_LEVELS = {"full model": "full", "to reach": "target", "majority class": "majority"}
_NAMED_AT = (4, 84, 150)
"""Pixels from the axis to the levels' names: one beside the other, so that those of equal levels can be read."""


def curves(results: Mapping[str, Result], title: str = "How many trained numbers it takes") -> Chart:
    """Give the d-curve of every result in a panel of its own; the bracket is shaded.

    Levels: accuracy of the full model, what is to be reached, and that of the majority class.
    """
    rows = pd.concat([_curve(result).assign(panel=name) for name, result in results.items()], ignore_index=True)
    if rows.empty:
        return message(title, "The budget was spent before any d was tried.")
    x = alt.X("d:Q", title="trained numbers d", scale=alt.Scale(type="log"))
    y = alt.Y("value:Q", title="accuracy", scale=alt.Scale(zero=False))
    place = alt.Chart(rows, height=240).encode(x=x, tooltip=["d:Q", *map(_tip, ("value", "low", "high", "rate"))])
    once = alt.Chart(rows).transform_aggregate(groupby=["full", "target", "majority", "failing", "passing"])
    bracket = once.mark_rect(opacity=0.15, color=ACCENT).encode(x=alt.X("failing:Q"), x2="passing:Q")
    levels = [once.mark_rule(strokeDash=[5, 4], color=NEUTRAL).encode(y=f"{level}:Q") for level in _LEVELS.values()]
    names = [
        once.mark_text(align="left", dx=dx, dy=-6).encode(x=alt.value(0), y=f"{level}:Q", text=alt.value(name))
        for dx, (name, level) in zip(_NAMED_AT, _LEVELS.items(), strict=True)
    ]
    spread = place.mark_rule(color=PALETTE[0], strokeWidth=1.5).encode(y=alt.Y("low:Q", title="accuracy"), y2="high:Q")
    line = place.mark_line(color=PALETTE[0], strokeWidth=1).encode(y=y)
    points = place.mark_point(filled=True, size=50, opacity=1, color=PALETTE[0]).encode(y=y)
    panel = alt.layer(bracket, *levels, *names, spread, line, points, data=rows)
    chart = panel.facet(row=alt.Row("panel:N", sort=list(results), title=None))
    subtitle = "shaded: between the largest d that fails and the smallest that passes; bars: 95 % over sentences"
    return themed(chart, title, f"Accuracy against trained numbers for {', '.join(results)}.", subtitle)


def curve_table(result: Result) -> pd.DataFrame:
    """Give a row for each d that was tried: learning rate, accuracy with its interval, and whether it passes."""
    rows = _curve(result)
    passes = (rows["value"] >= rows["target"]).map({True: "passes", False: "fails"})
    named = {"rate": "learning_rate", "value": "accuracy"}
    return rows[["d", "rate", "value", "low", "high"]].rename(columns=named).assign(outcome=passes)


def bracket_table(results: Mapping[str, Result]) -> pd.DataFrame:
    """Give a row for each result: accuracies of the full model, to reach and of the majority class, and the bracket."""
    rows = [
        {
            "name": name,
            "full model": result.value("accuracy", training="full"),
            "to reach": result.value("target_accuracy"),
            "majority class": result.value("majority_accuracy"),
            "largest d that fails": result.value("largest_failing"),
            "smallest d that passes": result.value("smallest_passing"),
            "trainings": result.value("num_trainings"),
        }
        for name, result in results.items()
    ]
    return pd.DataFrame(rows)


def _curve(result: Result) -> pd.DataFrame:
    """A row for each d with its levels; an end of the bracket that is open lies at the end of the curve."""
    points = [number for number in result.numbers if number.name == "accuracy" and "num_trained" in number.where]
    rows = pd.DataFrame(
        {
            "d": int(number.where["num_trained"]),
            "value": number.value,
            "low": number.low,
            "high": number.high,
            "rate": result.value("learning_rate", num_trained=number.where["num_trained"]),
        }
        for number in points
    )
    if rows.empty:
        return rows
    failing, passing = (result.value(end) for end in ("largest_failing", "smallest_passing"))
    return rows.assign(
        full=result.value("accuracy", training="full"),
        target=result.value("target_accuracy"),
        majority=result.value("majority_accuracy"),
        failing=rows["d"].min() if pd.isna(failing) else failing,
        passing=rows["d"].max() if pd.isna(passing) else passing,
    )


def _tip(field: str) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:Q", format=".4~g")
