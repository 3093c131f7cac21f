from __future__ import annotations

import itertools
import json
import re
import struct
import zlib
from importlib.resources import files
from xml.etree import ElementTree

import altair as alt
import numpy as np
import pandas as pd
import pytest

from dimscope.report.theme import PALETTE, message, scripts, themed, to_png, to_spec, to_svg

CSS = files("dimscope.report").joinpath("page.css").read_text()
LIGHT, DARK = (dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.S)[:2])


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    channels = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("paper", ["#ffffff", LIGHT["paper"], DARK["paper"]])
@pytest.mark.parametrize("color", PALETTE)
def test_marks_stand_out_on_every_paper(color, paper):
    assert contrast(color, paper) >= 3


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ink", ["ink", "faint", "accent"])
@pytest.mark.parametrize("paper", ["paper", "raised"])
def test_text_is_readable_in_both_lights(colors, ink, paper):
    assert contrast(colors[ink], colors[paper]) >= 4.5


def seen_by(color: str, matrix: list[list[float]]) -> np.ndarray:
    linear = (np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255) ** 2.2
    return np.clip(np.array(matrix) @ linear, 0, 1) ** (1 / 2.2)


# Viénot, Brettel and Mollon, "Digital video colourmaps for checking the legibility of displays" (1999).
PROTANOPIA = [[0.1124, 0.8876, 0.0], [0.1124, 0.8876, 0.0], [0.0040, -0.0040, 1.0]]
DEUTERANOPIA = [[0.2927, 0.7073, 0.0], [0.2927, 0.7073, 0.0], [-0.0223, 0.0223, 1.0]]


@pytest.mark.parametrize("matrix", [PROTANOPIA, DEUTERANOPIA], ids=["protanopia", "deuteranopia"])
def test_the_first_three_colors_differ_for_color_blind_readers(matrix):
    for one, other in itertools.combinations(PALETTE[:3], 2):
        assert np.linalg.norm(seen_by(one, matrix) - seen_by(other, matrix)) > 0.15


def scanlines(png: bytes) -> np.ndarray:
    """The lines of a PNG of 8 bits a channel: each its filter's number, then the bytes as that left them."""
    chunks, at = {}, 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        chunks[kind] = chunks.get(kind, b"") + png[at + 8 : at + 8 + length]
        at += length + 12
    width, height, depth, kind = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    step = {2: 3, 6: 4}[kind]
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert lines.shape[1] == width * step + 1
    return lines


def test_a_png_is_drawn_and_white_around():
    chart = themed(alt.Chart(pd.DataFrame({"x": [1, 2]})).mark_point().encode(x="x:Q"), "A title", "Two points")
    blank = themed(alt.Chart(pd.DataFrame({"x": [1, 2]})).mark_point(opacity=0), "", "Nothing")
    drawn, empty = scanlines(to_png(chart)), scanlines(to_png(blank))
    assert len(np.unique(drawn)) > 20 > len(np.unique(empty))
    assert (drawn[0, 1:5] == 255).all()


def test_a_svg_is_white_behind_and_takes_no_color_of_its_own_for_text():
    svg = ElementTree.fromstring(to_svg(message("Outliers", "None at all")))
    fills = {text.text: text.get("fill") for text in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert fills == {"Outliers": "currentColor", "None at all": "currentColor"}
    assert next(iter(svg)).get("fill") == "white"


def test_a_chart_has_a_title_and_a_description_and_fits_its_box():
    spec = to_spec(themed(alt.Chart(pd.DataFrame({"x": [1]})).mark_point(), "A " * 30, "Says it.", "b " * 40))
    assert spec["description"] == f"{'A ' * 30}: Says it."
    assert all(len(line) <= 52 for line in [*spec["title"]["text"], *spec["title"]["subtitle"]])
    assert " ".join(spec["title"]["subtitle"]) == ("b " * 40).strip()
    assert spec["width"] == "container"


def test_rows_are_not_limited():
    frame = pd.DataFrame({"x": np.arange(6000)})
    (data,) = to_spec(alt.Chart(frame).mark_point().encode(x="x:Q"))["datasets"].values()
    assert [row["x"] for row in data] == list(range(6000))
    assert alt.data_transformers.options == {}


def test_the_scripts_can_stand_in_a_page():
    script = scripts()
    assert "window.vegaEmbed=" in script.replace(" ", "")
    assert not re.search(r"</script|<!--", script, re.I)
    assert json.loads(json.dumps(script)) == script
