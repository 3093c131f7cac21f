"""What the charts of a network's inside draw is what they were given: read back from the SVG and from the page's JSON."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from dimscope.report.inside import attribution_bars, by_layer, circuit_graph, dose_response, heat_map
from dimscope.report.theme import ACCENT, PALETTE, to_png, to_spec, to_svg

VALUES = np.array([[0.5, -1.0, 0.0], [np.nan, 0.25, 2.0]])
BLUE = PALETTE[0]


def drawn(chart, kind):
    """The marks of one kind, legends and axes left out."""
    svg = ElementTree.fromstring(to_svg(chart))
    groups = [group for group in svg.iter() if f"mark-{kind} role-mark" in group.get("class", "")]
    return [mark for group in groups for mark in group]


def shown(**more):
    return heat_map(
        VALUES, rows=["layer 0", "layer 1"], columns=["0", "1", "2"], row_title="layer", column_title="head",
        measure="score", title="Heads", **more,
    )  # fmt: skip


def test_a_tile_for_each_value_colored_by_sign_and_strength():
    tiles = drawn(shown(), "rect")
    assert len(tiles) == 5  # NaN is left out
    opacity = {color: sorted(float(t.get("fill-opacity", 1)) for t in tiles if t.get("fill") == color) for color in
               (ACCENT, BLUE)}  # fmt: skip
    np.testing.assert_allclose(opacity[ACCENT], [0, 0.125, 0.25, 1], atol=1e-3)
    np.testing.assert_allclose(opacity[BLUE], [0.5], atol=1e-3)
    rows = {tile.get("d").split("v")[0].split(",")[1].split("h")[0] for tile in tiles}
    assert len(rows) == 2


def test_the_strongest_is_told_in_words():
    assert "the strongest, 2, at layer layer 1, head 2" in to_spec(shown())["description"]
    assert "full color: 2 of score" in " ".join(to_spec(shown())["title"]["subtitle"])


def test_a_map_without_values_says_so():
    chart = heat_map(np.full((1, 1), np.nan), rows=["0"], columns=["0"], row_title="layer", column_title="head",
                     measure="score", title="Heads")  # fmt: skip
    assert "no value" in to_svg(chart)


def test_bars_go_from_zero_to_their_value_with_their_interval():
    rows = pd.DataFrame(
        [("heads", 0.4, 0.3, 0.5), ("mlp", -0.8, np.nan, np.nan)], columns=["label", "value", "low", "high"]
    )
    chart = attribution_bars(rows, measure="logit difference", title="Parts")
    bars = drawn(chart, "rect")
    widths = {bar.get("fill"): float(bar.get("d").split("h")[1].split("v")[0]) for bar in bars}
    assert abs(widths[BLUE]) == pytest.approx(2 * abs(widths[ACCENT]))
    assert len(drawn(chart, "rule")) == 1


def test_a_circuit_stands_layer_over_layer_and_its_edges_bear_their_scores():
    edges = pd.DataFrame(
        [("3.1", "logits", 0.6), ("0.2", "3.1", -0.3), ("0.0", "3.1", 0.15)], columns=["sender", "receiver", "score"]
    )
    chart = circuit_graph(edges, title="Circuit")
    texts = {mark.text: mark for mark in drawn(chart, "text")}
    assert set(texts) == {"3.1", "logits", "0.2", "0.0"}
    height = {name: float(mark.get("transform").split(",")[1].rstrip(")")) for name, mark in texts.items()}
    assert height["logits"] < height["3.1"] < height["0.2"] == height["0.0"]
    lines = drawn(chart, "rule")
    widths = sorted((float(line.get("stroke-width")), line.get("stroke")) for line in lines)
    assert [color for _, color in widths] == [ACCENT, BLUE, ACCENT]
    steps = np.diff([width for width, _ in widths])
    assert steps[1] == pytest.approx(2 * steps[0])  # 0.15, 0.3, 0.6


def test_a_circuit_without_edges_says_so():
    assert "No head" in to_svg(circuit_graph(pd.DataFrame(columns=["sender", "receiver", "score"]), title="Circuit"))


@pytest.mark.parametrize("of", ["dose", "layer"])
def test_curves_have_a_line_for_each_group_and_the_first_stands_out(of):
    rows = pd.DataFrame(
        [(x, value + shift, value - 0.1, value + 0.1, group)
         for group, shift in (("ρ", 0.0), ("random", 0.2)) for x, value in enumerate((0.1, 0.4, 0.3))],
        columns=[of, "value", "low", "high", "group"],
    )  # fmt: skip
    if of == "dose":
        chart = dose_response(rows, dose_title="standard deviations", measure="share", title="Steering", reference=0.5)
    else:
        chart = by_layer(rows, measure="share", title="Layers")
    strokes = [line.get("stroke") for line in drawn(chart, "line")]
    assert len(strokes) == 2
    assert strokes[0] == ACCENT
    assert len(drawn(chart, "symbol")) == 6
    assert len(drawn(chart, "rule")) == (of == "dose")
    assert to_png(chart)[1:4] == b"PNG"


def test_one_group_needs_no_legend():
    rows = pd.DataFrame([(0, 0.5, 0.4, 0.6, "all")], columns=["layer", "value", "low", "high", "group"])
    chart = by_layer(rows, measure="share", title="Layers")
    assert to_spec(chart)["layer"][0]["encoding"]["color"]["legend"] is None
