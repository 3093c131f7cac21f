from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from dimscope.report.figures import (
    ablation,
    comparison,
    persistence,
    profile,
    spectrum,
    variance_against_accuracy,
)
from dimscope.report.theme import ACCENT, Chart, to_png, to_spec, to_svg

RNG = np.random.default_rng(7)
HOSTILE = "</script><b>'\"\\ datum.x [0] | ρ"


def rows_of(chart: Chart, column: str) -> pd.DataFrame:
    """The rows that the chart carries into the page, of the data set that has this column."""
    sets = (pd.DataFrame(rows) for rows in to_spec(chart)["datasets"].values())
    return next(rows for rows in sets if column in rows)


def symbols(chart: Chart) -> list[dict[str, str]]:
    """The points that are drawn, legends left out: attributes with the place as x and y."""
    svg = ElementTree.fromstring(to_svg(chart))
    groups = [group for group in svg.iter() if group.get("class", "").startswith("mark-symbol role-mark")]
    found = [dict(path.attrib) for group in groups for path in group]
    for path in found:
        path["x"], path["y"] = map(float, path["transform"].removeprefix("translate(").rstrip(")").split(","))
    return found


def is_affine(drawn: np.ndarray, told: np.ndarray) -> bool:
    slope, offset = np.polyfit(told, drawn, 1)
    return abs(slope) > 0 and np.allclose(slope * told + offset, drawn, atol=1e-6 * np.ptp(drawn))


@pytest.fixture
def compared() -> pd.DataFrame:
    places = [(label, group) for group in ("b, rte", "a, sst2") for label in ("ρ", "full", "majority")]
    frame = pd.DataFrame(places, columns=["label", "group"]).assign(value=RNG.uniform(0.5, 0.9, 6))
    frame = frame.assign(low=frame["value"] - 0.02, high=frame["value"] + 0.03)
    frame.loc[frame["label"] == "majority", ["low", "high"]] = np.nan
    return frame


@pytest.fixture
def ablated() -> pd.DataFrame:
    places = [
        (name, fill, place)
        for place in ("final", "every layer")
        for name in ("ρ", "outliers", "random")
        for fill in ("mean", "zero")
    ]
    frame = pd.DataFrame(places, columns=["ablated", "fill", "place"]).assign(value=RNG.uniform(0.5, 0.9, 12))
    reference = np.where(frame["place"] == "final", 0.85, 0.8)
    return frame.assign(low=frame["value"] - 0.02, high=frame["value"] + 0.03, reference=reference)


def test_comparison_draws_its_numbers(compared):
    chart = comparison(compared)
    carried = rows_of(chart, "group")[compared.columns]
    pd.testing.assert_frame_equal(carried, compared, check_exact=True)
    drawn = symbols(chart)
    assert is_affine(np.array([point["x"] for point in drawn]), compared["value"].to_numpy())
    assert [point["fill"] == ACCENT for point in drawn] == [True, False, False] * 2


def test_comparison_draws_intervals_only_where_there_are(compared):
    svg = ElementTree.fromstring(to_svg(comparison(compared)))
    groups = [group for group in svg.iter() if group.get("class", "").startswith("mark-rule role-mark")]
    lines = [line for group in groups for line in group]
    starts = np.array([float(re.match(r"translate\((.+?),", line.get("transform"))[1]) for line in lines])
    ends = starts + [float(line.get("x2")) for line in lines]
    points = [point["x"] for point in symbols(comparison(compared))]
    scale = np.poly1d(np.polyfit(compared["value"], points, 1))
    sure = compared.dropna()
    np.testing.assert_allclose(np.sort([starts, ends], axis=0), [scale(sure["low"]), scale(sure["high"])])


def test_comparison_keeps_the_order_and_names_what_is_missing(compared):
    spec = to_spec(comparison(compared))
    assert spec["facet"]["row"]["sort"] == ["b, rte", "a, sst2"]
    assert "ρ, full, majority" in spec["description"]
    with pytest.raises(KeyError, match="high"):
        comparison(compared.drop(columns="high"))


def test_ablation_draws_its_numbers_and_one_rule_in_each_panel(ablated):
    chart = ablation(ablated)
    pd.testing.assert_frame_equal(rows_of(chart, "fill")[ablated.columns], ablated, check_exact=True)
    drawn = np.array([point["x"] for point in symbols(chart)])
    assert is_affine(drawn, ablated["value"].to_numpy())
    assert len({point["fill"] for point in symbols(chart)}) == 2
    scale = np.poly1d(np.polyfit(ablated["value"], drawn, 1))
    svg = ElementTree.fromstring(to_svg(chart))
    rules = [line.get("transform") for line in svg.iter() if line.get("stroke-dasharray") == "5,4"]
    places = [float(re.match(r"translate\((.+?),", rule)[1]) for rule in rules]
    np.testing.assert_allclose(places, [scale(0.85), scale(0.8)])
    with pytest.raises(KeyError, match="reference"):
        ablation(ablated.drop(columns="reference"))


def texts(chart: Chart) -> list[str]:
    return [
        text.text or "" for text in ElementTree.fromstring(to_svg(chart)).iter() if text.tag.endswith(("text", "tspan"))
    ]


def test_no_label_is_clipped_or_left_out(compared):
    long = {"ρ": "one dimension that is alone", "full": "another full model as a whole", "b, rte": "x" * 90}
    chart = comparison(compared.replace({"label": long, "group": long}))
    assert to_spec(chart)["facet"]["row"]["sort"] == ["x" * 90, "a, sst2"]
    shown = texts(chart)
    assert "…" not in "".join(shown)
    assert {"x" * 26, "x" * 12, "one dimension that is", "alone", "another full model as a", "whole"} <= set(shown)


def test_spectrum_is_variance_over_mean_variance_by_rank():
    variances = {"pretrained": RNG.lognormal(size=20), "fine-tuned": RNG.lognormal(size=30)}
    chart = spectrum(variances, factor=5.0)
    rows = rows_of(chart, "ratio")
    for key, variance in variances.items():
        own = rows[rows["key"] == key]
        np.testing.assert_array_equal(own["ratio"], np.sort(variance / variance.mean())[::-1])
        np.testing.assert_array_equal(variance[own["dim"]], np.sort(variance)[::-1])
        assert own["rank"].tolist() == list(range(1, len(variance) + 1))
    drawn = symbols(chart)
    assert is_affine(np.array([point["y"] for point in drawn]), np.log(rows["ratio"].to_numpy()))
    assert is_affine(np.array([point["x"] for point in drawn]), np.log(rows["rank"].to_numpy()))


def test_spectrum_draws_its_factor_once_at_its_height_and_counts_what_reaches_it():
    variance = np.ones(20)
    variance[4] = 19.0  # the mean is 38/20, so this is exactly 10 times the mean
    chart = spectrum({"a": variance}, factor=10.0)
    svg = ElementTree.fromstring(to_svg(chart))
    (rule,) = [line for line in svg.iter() if line.get("stroke-dasharray") == "5,4"]
    height = float(rule.get("transform").rstrip(")").split(",")[1])
    assert height == pytest.approx(min(point["y"] for point in symbols(chart)))
    assert "a 1; largest dim: a 4" in to_spec(chart)["description"]
    assert "a 0" in to_spec(spectrum({"a": variance}, factor=10.1))["description"]


def test_spectrum_says_what_it_cannot_show():
    chart = spectrum({"a": np.array([1.0, 0.0, 2.0, 0.0])}, factor=5.0)
    assert sorted(rows_of(chart, "ratio")["dim"]) == [0, 2]
    assert "2 that hardly vary" in " ".join(to_spec(chart)["title"]["subtitle"])
    assert "No dimension varies" in to_spec(spectrum({"a": np.zeros(4)}, factor=5.0))["description"]


def test_profile_draws_means_of_marked_dimensions_as_points():
    mean, spread = RNG.normal(size=(2, 3, 25))
    keys = ["pretrained", "a task", "another"]
    chart = profile({key: (mean[at], abs(spread[at])) for at, key in enumerate(keys)}, marked=[3, 17])
    rows = rows_of(chart, "mean")
    np.testing.assert_array_equal(rows["mean"], mean.ravel())
    np.testing.assert_array_equal(rows["spread"], abs(spread).ravel())
    drawn = symbols(chart)
    assert is_affine(np.array([point["y"] for point in drawn]), mean[:, [3, 17]].ravel())
    assert len({point["x"] for point in drawn}) == 2
    assert to_spec(chart)["facet"]["row"]["sort"] == keys
    assert symbols(profile({"a": (mean[0], abs(spread[0]))})) == []


def test_profile_answers_for_every_dimension_when_pointed_at():
    svg = ElementTree.fromstring(to_svg(profile({key: (np.zeros(9), np.ones(9)) for key in "ab"})))
    groups = [group for group in svg.iter() if group.get("class", "").startswith("mark-rect role-mark")]
    assert [len(group) for group in groups] == [9, 9]
    assert {path.get("fill-opacity") for group in groups for path in group} == {"0"}


def test_variance_against_accuracy_draws_its_numbers():
    variance = RNG.lognormal(size=12)
    accuracy = {"exact": RNG.uniform(0.5, 0.8, 12), "grid": RNG.uniform(0.5, 0.8, 12)}
    chart = variance_against_accuracy(variance, accuracy, {"majority": 0.5, "full model": 0.9})
    rows = rows_of(chart, "rule")
    np.testing.assert_array_equal(rows["variance"], np.tile(variance, 2))
    np.testing.assert_array_equal(rows["accuracy"], np.concatenate([*accuracy.values()]))
    drawn = symbols(chart)
    assert is_affine(np.array([point["x"] for point in drawn]), np.log(np.tile(variance, 2)))
    assert is_affine(np.array([point["y"] for point in drawn]), rows["accuracy"].to_numpy())
    assert rows_of(chart, "line").to_dict("list") == {
        "line": ["majority", "full model"],
        "height": [0.5, 0.9],
    }


def test_variance_against_accuracy_counts_a_constant_dimension_once():
    halves = np.full(3, 0.5)
    chart = variance_against_accuracy(np.array([0.0, 1.0, 2.0]), {"exact": halves, "grid": halves}, {})
    assert sorted(rows_of(chart, "rule")["dim"]) == [1, 1, 2, 2]
    assert "(1 that hardly vary" in to_spec(chart)["title"]["subtitle"][0]
    still = variance_against_accuracy(np.zeros(3), {"exact": halves}, {})
    assert "No dimension varies" in to_spec(still)["description"]


def test_persistence_shows_members_and_rates():
    member = RNG.random((6, 50)) < 0.1
    member[:, 42] = True
    labels = [f"seed {seed}" for seed in range(6)]
    tiles = rows_of(persistence(member, labels), "share").pivot(index="set", columns="dim", values="share")
    assert sorted(map(int, tiles.columns)) == sorted({int(dim) for _, dim in np.argwhere(member)})
    for dim in tiles.columns:
        assert tiles.loc["share of sets", dim] == sum(member[:, int(dim)]) / 6
        assert [tiles.loc[label, dim] for label in labels] == member[:, int(dim)].tolist()


def test_persistence_keeps_the_most_frequent():
    member = np.triu(np.ones((30, 30), dtype=bool))
    chart = persistence(member, [str(at) for at in range(30)], max_dims=4)
    assert list(dict.fromkeys(rows_of(chart, "dim")["dim"])) == ["29", "28", "27", "26"]
    assert "4 of the 30 dimensions" in to_spec(chart)["description"]


def test_persistence_without_any_outlier_says_so():
    chart = persistence(np.zeros((2, 5), dtype=bool), ["a", "b"])
    assert "No dimension is an outlier in any set." in to_svg(chart)


def charts(label: str) -> dict[str, Chart]:
    ends = {"value": 0.7, "low": 0.6, "high": 0.8}
    return {
        "comparison": comparison(pd.DataFrame([{"label": label, "group": label, **ends}])),
        "ablation": ablation(
            pd.DataFrame([{"ablated": label, "fill": label, "place": label, **ends, "reference": 0.9}])
        ),
        "spectrum": spectrum({label: np.array([1.0, 2.0, 9.0])}, 5.0),
        "profile": profile({label: (np.arange(3.0), np.ones(3))}, [1]),
        "scatter": variance_against_accuracy(np.array([1.0, 2.0]), {label: np.array([0.5, 0.6])}, {label: 0.5}),
        "persistence": persistence(np.eye(2, dtype=bool), [label, "b"]),
    }


@pytest.mark.parametrize("name", charts(""))
def test_every_chart_becomes_an_image_and_text_stays_text(name):
    chart = charts(HOSTILE)[name]
    svg = ElementTree.fromstring(to_svg(chart))
    tags = {element.tag.rpartition("}")[2] for element in svg.iter()}
    assert tags <= {"svg", "g", "path", "rect", "line", "text", "tspan", "defs", "clipPath"}
    assert any(HOSTILE[:12] in (text.text or "") for text in svg.iter())
    assert len(set(to_png(chart))) > 50


@pytest.mark.parametrize("name", charts(""))
def test_every_chart_names_the_dimension_or_the_rule_under_the_pointer(name):
    spec = str(to_spec(charts("a")[name]))
    wanted = {"comparison": "label", "ablation": "ablated"}.get(name, "dim")
    tooltips = spec.split("'tooltip': ")[1:]
    assert any(f"'field': '{wanted}'" in tooltip.split("]")[0] for tooltip in tooltips)
