import math

import pytest

from dimscope.core.result import Number, Result
from dimscope.report.intrinsic_dimension import bracket_table, curve_table, curves
from dimscope.report.theme import to_png, to_spec, to_svg

CURVE = {100: 0.6, 316: 0.7, 1000: 0.8}


def result(curve=CURVE, passing=1000.0):
    numbers = [
        Number(name="accuracy", value=0.83, interval=(0.8, 0.86), where={"training": "full"}),
        Number(name="target_accuracy", value=0.75),
        Number(name="majority_accuracy", value=0.5),
        Number(name="largest_failing", value=316),
        Number(name="smallest_passing", value=passing),
        Number(name="num_trainings", value=9),
    ]
    for d, value in curve.items():
        where = {"training": "subspace", "num_trained": d}
        numbers.append(Number(name="accuracy", value=value, interval=(value - 0.02, value + 0.02), where=where))
        numbers.append(Number(name="learning_rate", value=1 / d, where=where))
    return Result(numbers=numbers)


def carried(chart):
    return [row for rows in to_spec(chart)["datasets"].values() for row in rows]


def test_the_chart_carries_the_numbers_unchanged():
    rows = carried(curves({"minilm": result()}))
    assert {row["d"]: row["value"] for row in rows} == CURVE
    assert {(row["target"], row["full"], row["majority"], row["failing"], row["passing"]) for row in rows} == {
        (0.75, 0.83, 0.5, 316, 1000)
    }


def test_it_is_drawn_with_a_panel_for_each():
    chart = curves({"minilm": result(), "smollm2": result()})
    svg = to_svg(chart)
    assert "minilm" in svg
    assert "smollm2" in svg
    assert "to reach" in svg
    assert to_png(chart)[1:4] == b"PNG"


def test_an_open_end_is_drawn_to_the_end_of_the_curve_and_told_as_missing():
    open_above = result(passing=math.nan)
    assert {row["passing"] for row in carried(curves({"minilm": open_above}))} == {1000}
    assert math.isnan(bracket_table({"minilm": open_above})["smallest d that passes"][0])


def test_without_a_curve_it_says_so():
    assert "before any d was tried" in to_svg(curves({"minilm": result(curve={})}))


def test_the_tables_hold_the_numbers():
    rows = curve_table(result())
    assert rows["accuracy"].tolist() == list(CURVE.values())
    assert rows["outcome"].tolist() == ["fails", "fails", "passes"]
    assert rows["learning_rate"].tolist() == pytest.approx([0.01, 1 / 316, 0.001])
    brackets = bracket_table({"minilm": result()})
    assert brackets.loc[0, "smallest d that passes"] == 1000
    assert brackets.loc[0, "trainings"] == 9
