"""Charts of what happens inside a network: heat maps, attribution bars, circuits, dose–response, curves over layers.

Numbers in, an Altair chart out, no number changed. The charts are ours; what they show is usual in the field (the
circuit as a graph of heads: Wang et al. 2022, 2211.00593, figure 2). Positive is orange and negative blue everywhere,
the stronger the larger: a tile of zero has the color of the page, be it light or dark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Float

from dimscope.report.theme import ACCENT, NEUTRAL, PALETTE, Chart, message, themed

_SIGNS = alt.Scale(domain=["positive", "negative"], range=[ACCENT, PALETTE[0]])
_DASHES = [5, 4]
_TILE, _BAR, _FLOOR = 15, 18, 56
"""Heights in pixels: of a tile, a bar, and a layer of a circuit."""


def heat_map(
    values: Float[np.ndarray, "rows columns"],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    row_title: str,
    column_title: str,
    measure: str,
    title: str,
    subtitle: str = "",
) -> Chart:
    """Give a tile for each value, in the order of `rows` from the top; NaN leaves its tile out.

    >>> values = np.array([[1.0, -2.0]])
    >>> chart = heat_map(values, rows=["0"], columns=["0", "1"], row_title="layer", column_title="head",
    ...                  measure="share", title="Heads")
    >>> chart.data["share"].tolist()
    [1.0, -2.0]
    """
    frame = pd.DataFrame(values, index=list(rows), columns=list(columns)).rename_axis(row_title)
    tiles = frame.reset_index().melt(row_title, var_name=column_title, value_name=measure).dropna()
    if tiles.empty:
        return message(title, "There is no value to show.")
    most = float(tiles[measure].abs().max())
    chart = alt.Chart(_signed(tiles, measure), height=_TILE * len(rows)).mark_rect(stroke=NEUTRAL, strokeOpacity=0.15)
    chart = chart.encode(
        x=alt.X(f"{column_title}:N", sort=list(columns), title=column_title, axis=alt.Axis(labelAngle=0)),
        y=alt.Y(f"{row_title}:N", sort=list(rows), title=row_title),
        color=_by_sign(),
        fillOpacity=alt.FillOpacity("strength:Q", legend=None, scale=alt.Scale(domain=[0, most], range=[0, 1])),
        tooltip=[f"{row_title}:N", f"{column_title}:N", _tip(measure)],
    )
    strongest = tiles.iloc[int(tiles[measure].abs().argmax())]
    place = f"{row_title} {strongest[row_title]}, {column_title} {strongest[column_title]}"
    description = f"{measure} by {row_title} and {column_title}; the strongest, {strongest[measure]:.3g}, at {place}."
    return themed(chart, title, description, _said(_legend(measure, most), subtitle))


def attribution_bars(rows: pd.DataFrame, *, measure: str, title: str) -> Chart:
    """Give a bar from zero for each label, in the order of the rows, with its interval.

    `rows` has the columns label, value, low, high; NaN for low and high leaves the interval out.

    Raises:
        KeyError: a column is missing.

    >>> bar = {"label": "attention of layer 3", "value": 0.4, "low": 0.3, "high": 0.5}
    >>> attribution_bars(pd.DataFrame([bar]), measure="logit difference", title="Who says it").data.sign.tolist()
    ['positive']
    """
    rows = _signed(rows[["label", "value", "low", "high"]], "value")
    labels = list(rows["label"])
    place = alt.Chart(rows, height=_BAR * len(labels)).encode(
        y=alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelOverlap=False)),
        tooltip=["label:N", _tip("value"), _tip("low"), _tip("high")],
    )
    bars = place.mark_bar(opacity=0.85).encode(x=alt.X("value:Q", title=measure), color=_by_sign())
    interval = place.transform_filter(_HAS_INTERVAL).mark_rule(strokeWidth=2, color=NEUTRAL)
    strongest = rows.iloc[int(rows["value"].abs().argmax())]
    description = f"{measure} of {len(labels)} parts; the strongest is {strongest['label']}, {strongest['value']:.3g}."
    return themed(bars + interval.encode(x="low:Q", x2="high:Q"), title, description)


def circuit_graph(edges: pd.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """Give the heads of a circuit, a floor for each layer that has one, and a line for each edge.

    `edges` has the columns sender, receiver, score; a name is "layer.head", or words ("logits"), which stand on top.

    Raises:
        KeyError: a column is missing.

    >>> edge = {"sender": "3.1", "receiver": "logits", "score": 0.5}
    >>> circuit_graph(pd.DataFrame([edge]), title="Circuit").layer[0].data["score"].tolist()
    [0.5]
    """
    edges = _signed(edges[["sender", "receiver", "score"]], "score")
    if edges.empty:
        return message(title, "No head was found.")
    nodes = _placed([*edges["sender"], *edges["receiver"]])
    floors = list(dict.fromkeys(nodes.sort_values("floor")["layer"]))
    ends = edges.merge(nodes.add_prefix("from_"), left_on="sender", right_on="from_name")
    ends = ends.merge(nodes.add_prefix("to_"), left_on="receiver", right_on="to_name")
    ends = ends.drop(columns=["from_name", "to_name", "from_layer", "to_layer"])
    y = alt.Y("from_floor:Q", title=None, axis=None, scale=alt.Scale(domain=[-0.5, len(floors) - 0.5]))
    most = float(ends["score"].abs().max())
    lines = alt.Chart(ends, height=_FLOOR * len(floors)).mark_rule(strokeCap="round")
    lines = lines.encode(
        x=alt.X("from_x:Q", axis=None, scale=alt.Scale(domain=[-0.1, 1.1])),
        x2="to_x:Q",
        y=y,
        y2="to_floor:Q",
        color=_by_sign(),
        opacity=alt.Opacity("strength:Q", legend=None, scale=alt.Scale(domain=[0, most], range=[0.3, 1])),
        strokeWidth=alt.StrokeWidth("strength:Q", legend=None, scale=alt.Scale(domain=[0, most], range=[1, 7])),
        tooltip=["sender:N", "receiver:N", _tip("score")],
    )
    named = alt.Chart(nodes).encode(x="x:Q", y="floor:Q", tooltip=["name:N"])
    dots = named.mark_point(filled=True, size=60, opacity=1, color=NEUTRAL)
    names = named.mark_text(dx=8, align="left", fontWeight="bold").encode(text="name:N")
    said = "; ".join(f"{each.sender} to {each.receiver} {each.score:.2f}" for each in edges.itertuples())
    return themed(lines + dots + names, title, f"edges: {said}.", _said(_legend("score", most), subtitle))


def dose_response(
    rows: pd.DataFrame, *, dose_title: str, measure: str, title: str, reference: float | None = None
) -> Chart:
    """Give a line over the doses for each group, with intervals; the first group stands out.

    `rows` has the columns dose, value, low, high, group. A dashed line is drawn at `reference`.

    Raises:
        KeyError: a column is missing.

    >>> row = {"dose": 1.0, "value": 0.6, "low": 0.5, "high": 0.7, "group": "ρ"}
    >>> dose_response(pd.DataFrame([row]), dose_title="dose", measure="share", title="Steering").data.dose.tolist()
    [1.0]
    """
    return _curves(rows.rename(columns={"dose": dose_title}), dose_title, measure, title, reference)


def by_layer(rows: pd.DataFrame, *, measure: str, title: str) -> Chart:
    """Give a line over the layers for each group, with intervals; the first group stands out.

    `rows` has the columns layer, value, low, high, group.

    Raises:
        KeyError: a column is missing.

    >>> row = {"layer": 1, "value": 0.6, "low": 0.5, "high": 0.7, "group": "answer"}
    >>> by_layer(pd.DataFrame([row]), measure="probability", title="When is it known?").data.layer.tolist()
    [1]
    """
    return _curves(rows, "layer", measure, title, None)


def _curves(rows: pd.DataFrame, x: str, measure: str, title: str, reference: float | None) -> Chart:
    rows = rows[[x, "value", "low", "high", "group"]]
    groups = list(rows["group"].unique())
    color = alt.Color(
        "group:N",
        sort=groups,
        scale=alt.Scale(domain=groups, range=_line_colors(len(groups))),
        legend=alt.Legend(title=None) if len(groups) > 1 else None,
    )
    whole = alt.Axis(tickMinStep=1, format="d") if x == "layer" else alt.Axis()
    place = alt.Chart(rows, height=260).encode(x=alt.X(f"{x}:Q", title=x, axis=whole), color=color)
    band = place.transform_filter(_HAS_INTERVAL).mark_area(opacity=0.18).encode(y="low:Q", y2="high:Q")
    value = alt.Y("value:Q", title=measure, scale=alt.Scale(zero=False))
    line = place.mark_line(strokeWidth=2).encode(y=value)
    tooltip = ["group:N", _tip(x), _tip("value"), _tip("low"), _tip("high")]
    points = place.mark_point(filled=True, size=36, opacity=1).encode(y=value, tooltip=tooltip)
    layers = [band, line, points]
    if reference is not None:
        once = alt.Chart(pd.DataFrame({"reference": [reference]}))
        layers.insert(0, once.mark_rule(strokeDash=_DASHES).encode(y="reference:Q"))
    ends = "; ".join(_from_to(rows[rows["group"] == group], x) for group in groups)
    return themed(alt.layer(*layers), title, f"{measure} over {x}: {ends}.")


def _from_to(rows: pd.DataFrame, x: str) -> str:
    ordered = rows.sort_values(x)
    first, last = ordered.iloc[0], ordered.iloc[-1]
    return f"{first['group']} from {first['value']:.3g} at {first[x]:g} to {last['value']:.3g} at {last[x]:g}"


def _line_colors(num: int) -> list[str]:
    """The accent first, then the palette's others; beyond those all are neutral, as draws of a control are."""
    others = [color for color in PALETTE if color not in (ACCENT, NEUTRAL)]
    return [ACCENT, *others, *[NEUTRAL] * num][:num]


def _placed(names: Iterable[str]) -> pd.DataFrame:
    """Name, layer, floor and x of every head, those of a layer spread evenly; words stand above all layers."""
    rows = pd.DataFrame([_layer_and_head(name) for name in dict.fromkeys(names)], columns=["name", "layer", "head"])
    rows = rows.sort_values(["layer", "head", "name"])
    rows["floor"] = rows["layer"].rank(method="dense").astype(int) - 1
    nth = rows.groupby("layer").cumcount() + 1
    # One above the other, or in steps, heads would hide the edges that pass them.
    aside = 0.15 * (rows["floor"] % 4).map({0: -1, 1: 0.9, 2: -0.35, 3: 0.55})
    rows["x"] = nth / (rows.groupby("layer")["name"].transform("size") + 1) + aside
    return rows.drop(columns="head")


def _layer_and_head(name: str) -> tuple[str, float, float]:
    found = re.fullmatch(r"(\d+)\.(\d+)", name)
    return (name, float(found[1]), float(found[2])) if found else (name, np.inf, 0.0)


def _signed(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """With the sign in words, and the strength without it."""
    sign = np.where(rows[measure] < 0, "negative", "positive")
    return rows.assign(sign=sign, strength=rows[measure].abs())


def _by_sign() -> alt.Color:
    return alt.Color("sign:N", scale=_SIGNS, legend=None)


def _legend(measure: str, most: float) -> str:
    return f"orange: positive, blue: negative, full color: {most:.3g} of {measure}"


def _said(*words: str) -> str:
    return "; ".join(filter(None, words))


def _tip(field: str) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:Q", format=".4~g")


_HAS_INTERVAL = "isValid(datum.low) && isValid(datum.high)"
