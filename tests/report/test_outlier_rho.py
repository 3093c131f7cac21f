"""The sections about ρ show the averages over seeds, and the shares where they belong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dimscope.report.outlier_rho import editing, writers

CELLS = [("bert", "rte")]


def test_the_curve_is_that_of_the_averages(made_up):
    section = editing(made_up(), CELLS)
    rows = section.figures[0].chart.data
    shown = dict(zip(zip(rows["group"], rows["dose in standard deviations"], strict=True), rows["value"], strict=True))
    assert shown["ρ", -4.0] == pytest.approx(0.4)
    assert shown["random directions", 4.0] == pytest.approx(0.04)
    assert section.tables[0].frame.columns.tolist() == ["model", "task", "direction", "-4.0", "0.0", "4.0"]


def test_the_map_has_the_last_layer_on_top_and_the_mlp_at_the_right(made_up):
    section = writers(made_up(), CELLS)
    tiles = {(row.layer, row.head): row.share for row in section.figures[0].chart.data.itertuples()}
    assert tiles == {("1", "0"): 0.6, ("1", "1"): 0.0, ("1", "MLP"): 0.4,
                     ("0", "0"): 0.1, ("0", "1"): 0.0, ("0", "MLP"): -0.1}  # fmt: skip
    assert section.figures[0].chart.data["layer"].tolist()[0] == "1"
    assert section.tables[1].frame[["chosen", "others"]].iloc[0].str.startswith(("0.6", "0.2")).all()


def test_a_model_that_could_not_be_taken_apart_has_no_map(made_up):
    result = made_up()
    arrays = {name: array for name, array in result.arrays.items() if "variance_share" not in name}
    assert writers(replace(result, arrays=arrays), CELLS).figures == []
