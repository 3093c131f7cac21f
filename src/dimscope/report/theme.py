"""The look that all charts share, and their way to the page (JSON), to SVG and to PNG.

Everything that is not data is drawn in `currentColor`: a chart takes the color of the text around it, so one
chart serves a light page, a dark page and paper. The colors of marks are those of Okabe and Ito ("Color
Universal Design", 2008), which color-blind readers tell apart, darkened until they contrast by 3:1 at least
with white as with near-black (WCAG 2.2, success criterion 1.4.11).
"""

from __future__ import annotations

import textwrap
from functools import cache
from typing import Any

import altair as alt
import vl_convert

Chart = alt.Chart | alt.LayerChart | alt.FacetChart

ACCENT = "#d55e00"
NEUTRAL = "#7d838c"
PALETTE = ["#2b7bba", ACCENT, "#00936b", "#b35c96", "#a87900", NEUTRAL]

_FONT = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
_CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": _FONT,
    "padding": {"left": 2, "top": 2, "bottom": 2, "right": 12},
    "view": {"stroke": None},
    "range": {"category": PALETTE},
    "title": {
        "anchor": "start",
        "color": "currentColor",
        "subtitleColor": "currentColor",
        "fontSize": 14,
        "offset": 12,
    },
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "gridColor": "currentColor",
        "tickColor": "currentColor",
        "domainOpacity": 0.35,
        "gridOpacity": 0.1,
        "tickOpacity": 0.35,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 180,
        "labelOverlap": "greedy",
    },
    "legend": {
        "orient": "top",
        # It begins where the panels do, and one beside the other a narrow chart would clip its last entries.
        "direction": "vertical",
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "labelFontSize": 12,
        "labelLimit": 240,
        "symbolOpacity": 1,
    },
    "header": {
        "labelColor": "currentColor",
        "labelAnchor": "start",
        "labelFontSize": 12,
        "labelFontWeight": "bold",
        "labelOrient": "top",
        "labelPadding": 4,
    },
    "text": {"color": "currentColor", "fontSize": 12},
    "rule": {"color": NEUTRAL},
}
_FILE_WIDTH = 560
# What a telephone shows of a line, in characters: a chart clips its text where a page would wrap it.
_TITLE, _SUBTITLE = 36, 52


def themed(chart: Chart, title: str, description: str, subtitle: str = "") -> Chart:
    """Give the chart its title, the words that stand for it where it cannot be seen, and the common look.

    It becomes as wide as the page lets it; whoever draws a faceted chart sets the width of its panels.
    """
    heading = alt.TitleParams(
        textwrap.wrap(title, _TITLE), subtitle=textwrap.wrap(subtitle, _SUBTITLE) or alt.Undefined
    )
    if not isinstance(chart, alt.FacetChart):
        chart = chart.properties(width="container")
    return chart.properties(title=heading, description=f"{title}: {description}").configure(**_CONFIG)


def message(title: str, text: str) -> Chart:
    """Give a chart that says in words why there is nothing to draw."""
    return themed(alt.Chart(height=40).mark_text(text=text, opacity=0.8), title, text)


def to_spec(chart: Chart) -> dict[str, Any]:
    """Give the chart as Vega-Lite JSON with all of its data inside, however many rows there are."""
    with alt.data_transformers.disable_max_rows():
        return chart.to_dict()


def to_svg(chart: Chart) -> str:
    """Give the chart as an SVG image on white, for papers.

    >>> to_svg(message("Outliers", "none"))[:4]
    '<svg'
    """
    return vl_convert.vegalite_to_svg(_for_file(chart), vl_version=_VEGALITE)


def to_png(chart: Chart) -> bytes:
    """Give the chart as a PNG image on white, two pixels to the point.

    >>> to_png(message("Outliers", "none"))[1:4]
    b'PNG'
    """
    return vl_convert.vegalite_to_png(_for_file(chart), vl_version=_VEGALITE, scale=2)


# Altair writes for one version of Vega-Lite ("v6.4.1"); vl-convert bears several, each named by two numbers.
_VEGALITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


@cache
def scripts() -> str:
    """Give the JavaScript that draws charts (it defines `vegaEmbed`), to be carried by the page."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_VEGALITE)


def _for_file(chart: Chart) -> dict[str, Any]:
    spec = to_spec(chart)
    spec.get("spec", spec)["width"] = _FILE_WIDTH
    spec["config"]["background"] = "white"
    return spec
