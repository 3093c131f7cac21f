"""The page of single runs draws what the axes' names say, and shows the numbers and charts that it was given."""

from __future__ import annotations

import numpy as np

from dimscope.core.result import Array, Number, Result
from dimscope.report.page import render
from dimscope.report.runs import runs_page
from dimscope.report.theme import to_spec
from dimscope.report.written import write_page

RNG = np.random.default_rng(3)


def run(**arrays):
    where = {"model": "smollm2", "task": "prompts/capitals", "seed": 1}
    numbers = [Number(name="share", value=0.25, interval=(0.2, 0.3), where={**where, "layer": 2, "head": 1})]
    return Result(numbers=numbers, arrays=arrays, notes=["A caveat."], method="locate/x", settings={"fill": "mean"})


def charts(**arrays):
    return {figure.name: figure.chart for figure in runs_page([run(**arrays)]).sections[0].figures}


def test_layers_and_heads_are_a_map_with_the_last_layer_on_top():
    values = RNG.normal(size=(3, 2))
    (chart,) = charts(share=Array(values, ("layer", "head"))).values()
    assert chart.data["share"].tolist() == values[::-1].T.ravel().tolist()
    assert chart.data["layer"].tolist() == ["2", "1", "0"] * 2
    assert "sort" in str(to_spec(chart))


def test_doses_are_curves_and_layers_a_line():
    ticks = {"direction": ["means", "random 1"], "dose": ["-1", "0.5"]}
    found = charts(
        curve=Array(np.array([[0.1, 0.2], [0.3, 0.4]]), ("direction", "dose"), ticks=ticks),
        depth=Array(np.array([0.5, 0.7]), ("layer",), "logits"),
    )
    assert list(found) == ["1-locate-x-curve", "1-locate-x-depth"]
    rows = found["1-locate-x-curve"].data
    assert rows["dose"].tolist() == [-1, 0.5, -1, 0.5]
    assert rows["value"].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert rows["group"].tolist() == ["means"] * 2 + ["random 1"] * 2


def test_an_array_of_three_axes_is_a_map_for_each_place_of_the_first():
    values = RNG.normal(size=(2, 3, 4))
    found = charts(share=Array(values, ("metric", "layer", "token"), ticks={"metric": ["rank", "loss"]}))
    assert list(found) == ["1-locate-x-share-0", "1-locate-x-share-1"]
    assert found["1-locate-x-share-1"].data["share"].tolist() == values[1, ::-1].T.ravel().tolist()
    assert "loss" in str(to_spec(found["1-locate-x-share-1"])["title"])


def test_what_cannot_be_drawn_is_named():
    section = runs_page([run(vector=Array(np.zeros(500), ("dim",)))]).sections[0]
    assert not section.figures
    assert "Not drawn: vector, an array of 500 dims." in section.text


def test_the_page_holds_numbers_settings_and_notes(tmp_path):
    page = runs_page([run(share=Array(np.ones((1, 1)), ("layer", "head")))])
    html = render(page)
    for words in ("0.250 [0.200,\N{NO-BREAK SPACE}0.300]", "fill mean", "A caveat.", "smollm2, prompts/capitals, 1"):
        assert words in html
    write_page(tmp_path, page)
    assert (tmp_path / "figures" / "1-locate-x-share.png").read_bytes()[1:4] == b"PNG"
    assert (tmp_path / "tables" / "1-locate-x.csv").read_text().splitlines()[1].startswith("smollm2")
