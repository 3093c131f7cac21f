"""The six charts of a study of outlier dimensions: numbers in, an Altair chart out, no number changed.

Source: `profile` is the activation diagram (value against dimension, for the pretrained and the fine-tuned
model) and `factor` belongs to the outlier rule Var_j >= factor * mean_i Var_i of Rudman, Chen and Eickhoff,
"Outlier Dimensions Encode Task-Specific Knowledge" (EMNLP 2023). The other charts are ours.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from dimscope.report.theme import ACCENT, NEUTRAL, PALETTE, Chart, message, themed

_DASHES = [5, 4]
_LABEL, _HEADER = 26, 26
"""The most characters of a label in one line."""
_DECADES = alt.Axis(tickCount=5)
_HARDLY = 1e-6
"""What varies less than this share of the mean would stretch a logarithmic axis until nothing else is told apart."""


def comparison(
    rows: pd.DataFrame, *, measure: str = "accuracy", title: str = "One dimension beside every control"
) -> Chart:
    """Give a dot with its interval for each label, in a panel for each group; the first label stands out.

    `rows` has the columns label, value, low, high, group; NaN for low and high leaves the interval out.

    Raises:
        KeyError: a column is missing.

    >>> row = {"label": "full model", "value": 0.9, "low": 0.88, "high": 0.92, "group": "bert, sst2"}
    >>> comparison(pd.DataFrame([row])).data.value.tolist()
    [0.9]
    """
    rows = rows[["label", "value", "low", "high", "group"]]
    labels, groups = list(rows["label"].unique()), list(rows["group"].unique())
    colors = alt.Scale(domain=labels, range=[ACCENT] + [NEUTRAL] * (len(labels) - 1))
    panel = alt.layer(*_dots(rows, "label", measure))
    panel = panel.encode(color=alt.Color("label:N", scale=colors, legend=None))
    chart = panel.facet(row=_panels("group", groups), spacing=14)
    description = f"{measure} with intervals for {', '.join(labels)}; a panel each for {', '.join(groups)}."
    return themed(chart, title, description)


def ablation(rows: pd.DataFrame, *, measure: str = "accuracy", title: str = "What is lost without them") -> Chart:
    """Give what is left after each ablation, colored by fill, in a panel for each place.

    Each panel has a rule where nothing is ablated (`reference`). `rows` has the columns ablated, fill, place, value,
    low, high, reference; NaN for low and high leaves the interval out.

    Raises:
        KeyError: a column is missing.

    >>> row = {"ablated": "ρ", "fill": "mean", "place": "final", "value": 0.7, "low": 0.68, "high": 0.72}
    >>> ablation(pd.DataFrame([{**row, "reference": 0.8}])).data.reference.tolist()
    [0.8]
    """
    rows = rows[["ablated", "fill", "place", "value", "low", "high", "reference"]]
    interval, points = _dots(rows, "ablated", measure)
    interval = interval.encode(stroke=alt.Stroke("fill:N", sort=None, legend=None))
    dots = (interval + _told_apart(points, "fill")).encode(yOffset=alt.YOffset("fill:N", sort=None))
    intact = alt.Chart(rows).transform_aggregate(groupby=["reference"]).mark_rule(strokeDash=_DASHES)
    intact = intact.encode(x="reference:Q", tooltip=_tip("reference"))
    panel = (intact + dots).properties(height=16 * len(rows[["ablated", "fill"]].drop_duplicates()))
    places = rows["place"].unique().tolist()
    chart = panel.facet(row=_panels("place", places), spacing=14)
    description = (
        f"{measure} after ablating {', '.join(rows['ablated'].unique())}; a panel each for {', '.join(places)}."
    )
    return themed(chart, title, description, "dashed: nothing ablated")


def spectrum(
    variances: Mapping[str, Float[np.ndarray, " _dims"]],
    factor: float,
    *,
    title: str = "Variance of every dimension",
) -> Chart:
    """Give every dimension's variance over the mean variance, largest first, and a rule at `factor`.

    Dimensions that vary less than a millionth of the mean are not shown: the subtitle counts them.

    >>> spectrum({"pretrained": np.array([1.0, 4.0, 1.0])}, factor=5.0).data[["dim", "ratio"]].values.tolist()
    [[1.0, 2.0], [0.0, 0.5], [2.0, 0.5]]
    """
    ranked = [_ranked(variance).assign(key=key) for key, variance in variances.items()]
    rows = pd.concat(ranked, ignore_index=True)
    shown = rows[rows["ratio"] > _HARDLY]
    if shown.empty:
        return message(title, "No dimension varies.")
    spectra = alt.Chart(shown, height=260).encode(
        x=alt.X("rank:Q", title="rank", scale=alt.Scale(type="log", nice=False), axis=_DECADES),
        y=alt.Y("ratio:Q", title="variance / mean variance", scale=alt.Scale(type="log"), axis=_DECADES),
        tooltip=["key:N", "dim:N", "rank:N", _tip("ratio")],
    )
    lines = spectra.mark_line(strokeWidth=1, opacity=0.5)
    lines = lines.encode(stroke=alt.Stroke("key:N", sort=None, legend=None))
    points = _told_apart(spectra.mark_point(filled=True, size=28, aria=False), "key")
    once = alt.Chart(shown).transform_aggregate(dims="count()")
    limit = once.mark_rule(strokeDash=_DASHES).encode(y=alt.datum(factor))
    above = [f"{key} {(rows['ratio'] >= factor)[rows['key'] == key].sum()}" for key in variances]
    largest = [f"{key} {variance.argmax()}" for key, variance in variances.items()]
    subtitle = f"dashed: {factor:g} × the mean; at or above it: {', '.join(above)}; largest dim: {', '.join(largest)}"
    description = f"Variance over mean variance of every dimension, largest first; {subtitle}."
    missing = _left_out(len(rows) - len(shown))
    return themed(limit + lines + points, title, description, f"{subtitle} {missing}")


def profile(
    rows: Mapping[str, tuple[Float[np.ndarray, " _dims"], Float[np.ndarray, " _dims"]]],
    marked: Sequence[int] = (),
    *,
    title: str = "Activation profile",
) -> Chart:
    """Give each key's mean and spread of every dimension in a panel of its own, `marked` ones as points.

    All panels have one scale. Hovering over one names the dimension and shows it in every panel.

    >>> profile({"pretrained": (np.zeros(3), np.ones(3))}, marked=[1]).data.marked.tolist()
    [False, True, False]
    """
    panels = [
        pd.DataFrame({"key": key, "dim": np.arange(len(mean)), "mean": mean, "spread": spread})
        for key, (mean, spread) in rows.items()
    ]
    frame = pd.concat(panels, ignore_index=True)
    frame["marked"] = frame["dim"].isin(list(marked))
    panel = alt.layer(*_activations(frame), _hovered(frame), data=frame)
    chart = panel.facet(row=_panels("key", list(rows)))
    subtitle = f"line: mean; band: ± the spread{'; points: outliers' if frame['marked'].any() else ''}"
    description = f"Mean and spread of every dimension; a panel each for {', '.join(rows)}."
    return themed(chart, title, description, subtitle)


def variance_against_accuracy(
    variance: Float[np.ndarray, " dims"],
    accuracy: Mapping[str, Float[np.ndarray, " dims"]],
    lines: Mapping[str, float],
    *,
    title: str = "Do dimensions that vary more know more?",
) -> Chart:
    """Give a point for every dimension and threshold rule: variance, 1-D accuracy; `lines` are named heights.

    Dimensions that vary less than a millionth of the mean are not shown: the subtitle counts them.

    >>> variance_against_accuracy(np.array([1.0, 0.0]), {"exact": np.array([0.6, 0.5])}, {}).title.subtitle
    ['(1 that hardly vary are not shown)']
    """
    points = pd.DataFrame({"dim": np.arange(len(variance)), "variance": variance})
    shown = pd.concat([points.assign(rule=rule, accuracy=of_dims) for rule, of_dims in accuracy.items()])
    num_shown = int((variance > _HARDLY * variance.mean()).sum())
    shown = shown[shown["variance"] > _HARDLY * variance.mean()]
    if shown.empty:
        return message(title, "No dimension varies.")
    scatter = alt.Chart(shown, height=280).mark_point(size=26, opacity=0.9, strokeWidth=1.2, aria=False)
    scatter = _told_apart(scatter, "rule").encode(
        x=alt.X("variance:Q", title="variance", scale=alt.Scale(type="log"), axis=_DECADES),
        y=alt.Y("accuracy:Q", title="accuracy", scale=alt.Scale(zero=False)),
        tooltip=["rule:N", "dim:N", _tip("variance"), _tip("accuracy")],
    )
    heights = alt.Chart(pd.DataFrame({"line": list(lines), "height": list(lines.values())}, dtype=object))
    rules = heights.mark_rule(strokeDash=_DASHES).encode(y="height:Q")
    names = heights.mark_text(align="right", dx=-4, dy=-7).encode(x=alt.value("width"), y="height:Q", text="line:N")
    said = ", ".join(f"{label} {height:.3f}" for label, height in lines.items())
    description = f"1-D accuracy against variance for {len(variance)} dimensions; lines: {said or 'none'}."
    return themed(rules + scatter + names, title, description, _left_out(len(variance) - num_shown))


def persistence(
    member: Bool[np.ndarray, "sets dims"],
    set_labels: Sequence[str],
    *,
    max_dims: int = 40,
    title: str = "Which dimensions stay outliers",
) -> Chart:
    """Give a tile for each set and each dimension that is in any set, most frequent first, shares on top.

    At most `max_dims` dimensions are shown, and the subtitle says so. Without any there is a text instead.

    >>> chart = persistence(np.array([[True, False, True], [False, False, True]]), ["seed 1", "seed 2"])
    >>> list(chart.data["dim"].unique())
    ['2', '0']
    """
    rate = member.mean(axis=0)
    ever = np.flatnonzero(rate)
    if not ever.size:
        return message(title, "No dimension is an outlier in any set.")
    dims = ever[np.argsort(-rate[ever], kind="stable")][:max_dims]
    shares = pd.DataFrame(np.vstack([rate, member])[:, dims], columns=dims.astype(str))
    labels = ["share of sets", *set_labels]
    shares.insert(0, "set", labels)
    tiles = alt.Chart(shares.melt("set", var_name="dim", value_name="share"), height=_row_height(labels) * len(labels))
    chart = tiles.mark_rect(color=ACCENT, stroke=NEUTRAL, strokeOpacity=0.25).encode(
        x=alt.X("dim:N", sort=None, title="dimension"),
        y=alt.Y("set:N", sort=None, title=None, axis=_lines_axis(labels)),
        fillOpacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None),
        tooltip=["set:N", "dim:N", _tip("share")],
    )
    subtitle = f"{len(dims)} of the {len(ever)} dimensions that are outliers in any of {len(member)} sets"
    description = f"{subtitle}; dimension {dims[0]} in {rate[dims[0]]:.0%} of the sets, most often of all."
    return themed(chart, title, description, subtitle)


def _dots(rows: pd.DataFrame, label: str, measure: str) -> tuple[alt.Chart, alt.Chart]:
    """Intervals, and the points that lie on them: a line of the chart for each label."""
    labels = list(rows[label].unique())
    place = alt.Chart(rows, height=_row_height(labels) * len(labels)).encode(
        y=alt.Y(f"{label}:N", sort=labels, title=None, axis=_lines_axis(labels)),
        tooltip=[f"{label}:N", _tip("value"), _tip("low"), _tip("high")],
    )
    interval = place.transform_filter("isValid(datum.low) && isValid(datum.high)").mark_rule(strokeWidth=2)
    points = place.mark_point(filled=True, size=70, opacity=1)
    value = alt.X("value:Q", title=measure, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
    return interval.encode(x="low:Q", x2="high:Q"), points.encode(x=value)


def _activations(frame: pd.DataFrame) -> list[alt.Chart]:
    """Band, line and, where dimensions are marked, points of an activation diagram."""
    place = alt.Chart(frame, height=130).encode(x=alt.X("dim:Q", title="dimension", scale=alt.Scale(nice=False)))
    ends = place.transform_calculate(low="datum.mean - datum.spread", high="datum.mean + datum.spread")
    band = ends.mark_area(opacity=0.3, color=PALETTE[0]).encode(y=alt.Y("low:Q", title="value"), y2="high:Q")
    line = place.mark_line(strokeWidth=1, color=PALETTE[0]).encode(y="mean:Q")
    points = place.transform_filter("datum.marked").mark_point(filled=True, size=45, color=ACCENT)
    # A layer without rows would have no extent, of which the browser's console complains.
    return [band, line, *([points.encode(y="mean:Q")] if frame["marked"].any() else [])]


def _hovered(frame: pd.DataFrame) -> alt.Chart:
    """A column for each dimension, unseen until pointed at: a line has one tooltip for all of it."""
    hover = alt.selection_point(fields=["dim"], on="pointerover", empty=False)
    sides = alt.Chart(frame).transform_calculate(left="datum.dim - 0.5", right="datum.dim + 0.5")
    columns = sides.mark_rect(color=NEUTRAL, aria=False).encode(
        x=alt.X("left:Q", title="dimension"),
        x2="right:Q",
        fillOpacity=alt.condition(hover, alt.value(0.5), alt.value(0)),
        tooltip=["key:N", "dim:N", _tip("mean"), _tip("spread")],
    )
    return columns.add_params(hover)


def _told_apart(points: alt.Chart, key: str) -> alt.Chart:
    """Points in a color and a shape for each key; lines use `stroke`, or Vega-Lite would split the legend."""
    legend = alt.Legend(title=None)
    color = alt.Color(f"{key}:N", sort=None, legend=legend)
    return points.encode(color=color, shape=alt.Shape(f"{key}:N", sort=None, legend=legend))


def _panels(key: str, names: Sequence[str]) -> alt.Row:
    """A panel for each name, one below the other, in that order."""
    header = alt.Header(labelExpr=_in_lines(names, _HEADER))
    return alt.Row(f"{key}:N", sort=list(names), title=None, header=header)


def _lines_axis(labels: Sequence[str]) -> alt.Axis:
    """An axis that shows every label whole."""
    return alt.Axis(labelExpr=_in_lines(labels, _LABEL), labelOverlap=False)


def _row_height(labels: Sequence[str]) -> int:
    return 10 + 12 * max(len(textwrap.wrap(label, _LABEL)) for label in labels)


def _in_lines(labels: Sequence[str], length: int) -> str:
    """An expression that gives each label in lines; Vega-Lite would clip it where a page would wrap it."""
    return f"{json.dumps({label: textwrap.wrap(label, length) for label in labels})}[datum.label]"


def _tip(field: str) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:Q", format=".4~g")


def _ranked(variance: Float[np.ndarray, " dims"]) -> pd.DataFrame:
    """Dimension, ratio of its variance to the mean, and rank from 1; equal ones by their index."""
    order = np.argsort(-variance, kind="stable")
    mean = variance.mean()
    ratio = variance / mean if mean > 0 else np.zeros_like(variance)
    return pd.DataFrame({"dim": order, "ratio": ratio[order], "rank": np.arange(1, len(variance) + 1)})


def _left_out(num_dims: int) -> str:
    return f"({num_dims} that hardly vary are not shown)" if num_dims else ""
