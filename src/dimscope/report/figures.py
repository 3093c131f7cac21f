"""The six charts of a study of outlier dimensions: tidy numbers in, an Altair chart out, no number changed on the way.

Source: the dot plots, spectra and persistence tiles are ours; `profile` is the activation diagram (value against
dimension, for the pretrained and the fine-tuned model), and the factor of `spectrum` the outlier rule
Var_j >= factor * mean_i Var_i, of Rudman, Chen and Eickhoff, "Outlier Dimensions Encode Task-Specific Knowledge" (EMNLP 2023).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from dimscope.report.theme import ACCENT, NEUTRAL, PALETTE, Chart, message, themed

_LEGEND = alt.Legend(title=None)


def comparison(rows: pd.DataFrame, *, measure: str = "accuracy", title: str = "One dimension beside every control") -> Chart:
    """Give a dot with its interval for each label, a panel for each group; the first label is the one that stands out.

    `rows` has the columns label, value, low, high, group, and at least one row; NaN as an end leaves the interval out.

    Raises:
        KeyError: a column is missing.

    >>> row = {"label": "full model", "value": 0.9, "low": 0.88, "high": 0.92, "group": "bert, sst2"}
    >>> comparison(pd.DataFrame([row])).data.value.tolist()
    [0.9]
    """
    rows = rows[["label", "value", "low", "high", "group"]]
    labels = list(rows["label"].unique())
    colors = alt.Scale(domain=labels, range=[ACCENT] + [NEUTRAL] * (len(labels) - 1))
    panel = _dots(rows, "label", measure).encode(color=alt.Color("label:N", scale=colors, legend=None))
    chart = panel.facet(row=alt.Row("group:N", sort=None, title=None), spacing=14)
    groups = rows["group"].nunique()
    return themed(chart, title, f"{title}: {measure} with 95 % intervals for {len(labels)} rules in {groups} groups.")


def ablation(rows: pd.DataFrame, *, measure: str = "accuracy", title: str = "What is lost without them") -> Chart:
    """Give the accuracy after each ablation, colored by site, and a rule at the unablated accuracy (`reference`).

    `rows` has the columns ablated, site, value, low, high, reference; NaN as an end leaves the interval out.

    Raises:
        KeyError: a column is missing.
    """
    rows = rows[["ablated", "site", "value", "low", "high", "reference"]]
    dots = _dots(rows, "ablated", measure).encode(
        yOffset=alt.YOffset("site:N", sort=None),
        color=alt.Color("site:N", sort=None, legend=_LEGEND),
        shape=alt.Shape("site:N", sort=None, legend=_LEGEND),
    )
    intact = alt.Chart(rows).transform_aggregate(groupby=["reference"]).mark_rule(strokeDash=[5, 4])
    intact = intact.encode(x="reference:Q", tooltip=alt.Tooltip("reference:Q", title="nothing ablated", format=".4f"))
    names = ", ".join(rows["ablated"].unique())
    description = f"{title}: {measure} after ablating {names}, beside the accuracy with nothing ablated."
    return themed(intact + dots, title, description, subtitle="dashed: nothing ablated")


def spectrum(
    variances: Mapping[str, Float[np.ndarray, "_dims"]], factor: float, *, title: str = "Variance of every dimension"
) -> Chart:
    """Give every dimension's variance over the mean variance, from the largest down, and a rule at `factor`.

    Dimensions that do not vary have no place on a logarithmic axis: the subtitle counts them.

    >>> spectrum({"pretrained": np.array([1.0, 4.0, 1.0])}, factor=5.0).data[["dim", "ratio"]].values.tolist()
    [[1.0, 2.0], [0.0, 0.5], [2.0, 0.5]]
    """
    rows = pd.concat([_ranked(variance).assign(key=key) for key, variance in variances.items()], ignore_index=True)
    shown = rows[rows["ratio"] > 0]
    if shown.empty:
        return message(title, "No dimension varies.")
    spectra = alt.Chart(shown).encode(
        x=alt.X("rank:Q", title="rank", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(tickCount=4, format="d")),
        y=alt.Y("ratio:Q", title="variance / mean variance", scale=alt.Scale(type="log"), axis=alt.Axis(tickCount=5)),
        color=alt.Color("key:N", sort=None, legend=_LEGEND),
        shape=alt.Shape("key:N", sort=None, legend=_LEGEND),
        tooltip=["key:N", "dim:N", "rank:Q", alt.Tooltip("ratio:Q", title="variance / mean", format=".4g")],
    )
    first = spectra.transform_filter("datum.rank == 1").mark_text(align="left", dx=8, dy=-4).encode(text="label:N")
    first = first.transform_calculate(label="'dim ' + datum.dim").encode(shape=alt.value(None))
    limit = alt.Chart().mark_rule(strokeDash=[5, 4]).encode(y=alt.datum(factor))
    chart = limit + spectra.mark_line(opacity=0.5, strokeWidth=1) + spectra.mark_point(filled=True, size=28) + first
    above = ", ".join(f"{key}: {(group['ratio'] >= factor).sum()}" for key, group in rows.groupby("key", sort=False))
    subtitle = [f"dashed: {factor:g} × the mean; dimensions at or above it: {above}", _left_out(rows, shown)]
    chart = chart.properties(data=shown, height=260)
    return themed(chart, title, f"{title}, in descending order. {subtitle[0]}.", " ".join(subtitle).strip())


def profile(
    rows: Mapping[str, tuple[Float[np.ndarray, "_dims"], Float[np.ndarray, "_dims"]]],
    marked: Sequence[int] = (),
    *,
    title: str = "Activation profile",
) -> Chart:
    """Give each key's mean value and spread of every dimension in a panel of its own, all on one scale, `marked` ones as points.

    Hovering over a panel names the dimension and shows it in every panel.

    >>> profile({"pretrained": (np.zeros(3), np.ones(3))}, marked=[1]).data.marked.tolist()
    [False, True, False]
    """
    panels = [
        pd.DataFrame({"key": key, "dim": np.arange(len(mean)), "mean": mean, "spread": spread})
        for key, (mean, spread) in rows.items()
    ]
    frame = pd.concat(panels, ignore_index=True)
    frame["marked"] = frame["dim"].isin(list(marked))
    calculated = alt.Chart(frame, height=130).transform_calculate(
        low="datum.mean - datum.spread", high="datum.mean + datum.spread", left="datum.dim - 0.5", right="datum.dim + 0.5"
    )
    value = alt.Y("low:Q", title="value")
    at = calculated.encode(x=alt.X("dim:Q", title="dimension", scale=alt.Scale(nice=False)))
    hover = alt.selection_point(fields=["dim"], on="pointerover", empty=False)
    column = calculated.mark_rect(color=NEUTRAL).encode(
        x=alt.X("left:Q", title="dimension"),
        x2="right:Q",
        fillOpacity=alt.condition(hover, alt.value(0.5), alt.value(0)),
        tooltip=["key:N", "dim:Q", alt.Tooltip("mean:Q", format=".4g"), alt.Tooltip("spread:Q", format=".4g")],
    )
    band = at.mark_area(opacity=0.3, color=PALETTE[0]).encode(y=value, y2="high:Q")
    line = at.mark_line(strokeWidth=1, color=PALETTE[0]).encode(y="mean:Q")
    points = at.transform_filter("datum.marked").mark_point(filled=True, size=45, color=ACCENT).encode(y="mean:Q")
    layers = alt.layer(band, line, points, column.add_params(hover), data=frame)
    subtitle = "line: mean; band: ± the spread" + ("; points: outlier dimensions" if frame["marked"].any() else "")
    description = f"{title}: mean and spread of every dimension, a panel each for {', '.join(rows)}."
    return themed(layers.facet(row=alt.Row("key:N", sort=None, title=None)), title, description, subtitle)


def variance_against_accuracy(
    variance: Float[np.ndarray, "dims"],
    accuracy: Mapping[str, Float[np.ndarray, "dims"]],
    lines: Mapping[str, float],
    *,
    title: str = "Do dimensions that vary more know more?",
) -> Chart:
    """Give a point for every dimension and threshold rule: its variance and its 1-D accuracy; `lines` are labelled heights.

    Dimensions that do not vary have no place on a logarithmic axis: the subtitle counts them.
    """
    rules = [
        pd.DataFrame({"rule": rule, "dim": np.arange(len(variance)), "variance": variance, "accuracy": of_dims})
        for rule, of_dims in accuracy.items()
    ]
    rows = pd.concat(rules, ignore_index=True)
    shown = rows[rows["variance"] > 0]
    if shown.empty:
        return message(title, "No dimension varies.")
    points = alt.Chart(shown).mark_point(size=24, opacity=0.75, strokeWidth=1.2)
    points = points.encode(
        x=alt.X("variance:Q", title="variance", scale=alt.Scale(type="log"), axis=alt.Axis(tickCount=5)),
        y=alt.Y("accuracy:Q", title="accuracy", scale=alt.Scale(zero=False)),
        color=alt.Color("rule:N", sort=None, legend=_LEGEND),
        shape=alt.Shape("rule:N", sort=None, legend=_LEGEND),
        tooltip=["rule:N", "dim:N", alt.Tooltip("variance:Q", format=".4g"), alt.Tooltip("accuracy:Q", format=".4f")],
    )
    heights = alt.Chart(pd.DataFrame({"line": list(lines), "height": list(lines.values())})).encode(y="height:Q")
    rule = heights.mark_rule(strokeDash=[5, 4])
    text = heights.mark_text(align="right", dx=-4, dy=-7).encode(x=alt.value("width"), text="line:N")
    said = ", ".join(f"{label} {height:.3f}" for label, height in lines.items())
    description = f"{title} Scatter of 1-D accuracy against variance for {len(variance)} dimensions; lines: {said}."
    return themed((rule + points + text).properties(height=280), title, description, _left_out(rows, shown))


def persistence(
    member: Bool[np.ndarray, "sets dims"],
    set_labels: Sequence[str],
    *,
    max_dims: int = 40,
    title: str = "Which dimensions stay outliers",
) -> Chart:
    """Give a tile for each set and each dimension that is in any set, the most frequent first, with the share of sets above.

    At most `max_dims` dimensions are shown, and the subtitle says so. Without any member there is a text instead.

    >>> chart = persistence(np.array([[True, False, True], [False, False, True]]), ["seed 1", "seed 2"])
    >>> list(chart.data["dim"].unique())
    ['2', '0']
    """
    rate = member.mean(axis=0)
    ever = np.flatnonzero(rate)
    if not ever.size:
        return message(title, "No dimension is an outlier in any set.")
    dims = ever[np.argsort(-rate[ever], kind="stable")][:max_dims]
    shares = np.vstack([rate, member])[:, dims]
    labels = ["share of sets", *set_labels]
    frame = pd.DataFrame(shares, index=labels, columns=[str(dim) for dim in dims])
    tiles = frame.rename_axis("set").reset_index().melt("set", var_name="dim", value_name="share")
    chart = alt.Chart(tiles, height=alt.Step(18)).mark_rect(color=ACCENT, stroke=NEUTRAL, strokeOpacity=0.25)
    chart = chart.encode(
        x=alt.X("dim:N", sort=None, title="dimension"),
        y=alt.Y("set:N", sort=None, title=None),
        fillOpacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None),
        tooltip=["set:N", "dim:N", alt.Tooltip("share:Q", format=".3f")],
    )
    subtitle = f"{len(dims)} of the {len(ever)} dimensions that are outliers in any of {len(member)} sets"
    most = f"dimension {dims[0]} in {rate[dims[0]]:.0%} of the sets"
    return themed(chart, title, f"{title}: {subtitle}; most often {most}.", subtitle)


def _dots(rows: pd.DataFrame, label: str, measure: str) -> alt.LayerChart:
    """Points over their intervals, a line of the chart for each label."""
    shown = ["value", "low", "high"]
    place = alt.Chart(rows, height=alt.Step(22)).encode(
        y=alt.Y(f"{label}:N", sort=None, title=None),
        tooltip=[f"{label}:N", *(alt.Tooltip(f"{name}:Q", format=".4f") for name in shown)],
    )
    intervals = place.transform_filter("isValid(datum.low) && isValid(datum.high)").mark_rule(strokeWidth=2)
    intervals = intervals.encode(x="low:Q", x2="high:Q")
    points = place.mark_point(filled=True, size=70, opacity=1)
    return intervals + points.encode(x=alt.X("value:Q", title=measure, scale=alt.Scale(zero=False)))


def _ranked(variance: Float[np.ndarray, "dims"]) -> pd.DataFrame:
    """Dim, ratio of its variance to the mean, and rank from 1; equal ones in the order of their index."""
    order = np.argsort(-variance, kind="stable")
    mean = variance.mean()
    ratio = variance / mean if mean > 0 else np.zeros_like(variance)
    return pd.DataFrame({"dim": order, "ratio": ratio[order], "rank": np.arange(1, len(variance) + 1)})


def _left_out(rows: pd.DataFrame, shown: pd.DataFrame) -> str:
    missing = rows["dim"].nunique() - shown["dim"].nunique()
    return f"({missing} dimensions that do not vary are not shown)" if missing else ""
