import pytest
from numpy import array

from dimscope.core.result import Array, Number, Result
from dimscope.report.page import render
from dimscope.report.theme import to_spec, to_svg
from dimscope.report.trajectory import accuracies, outstanding, page

RATIO, COUNT = {0: 2.5, 10: 6.25}, {0: 0, 10: 3}
ALONE = {0: 0.5, 10: 0.75}


@pytest.fixture
def result():
    numbers = []
    for step in (0, 10):
        where = {"step": step}
        numbers += [
            Number(name="num_outlier_dims", value=COUNT[step], where=where),
            Number(name="principal_dim", value=7 + step, where=where),
            Number(name="principal_variance_ratio", value=RATIO[step], where=where),
        ]
        for classifier in ("principal dimension", "full model", "majority class"):
            place = {**where, "classifier": classifier}
            numbers.append(Number(name="accuracy", value=ALONE[step], interval=(0.4, 0.8), where=place))
    return Result(numbers=numbers, arrays={"step": Array(array([0, 10]), ("step",))}, notes=["<b>a note</b>"])


def carried(chart):
    return [row for rows in to_spec(chart)["datasets"].values() for row in rows]


def test_the_charts_carry_the_numbers(result):
    rows = {(row["panel"], row["step"]): (row["value"], row["principal_dim"]) for row in carried(outstanding(result))}
    for step in (0, 10):
        assert rows["variance of ρ / mean variance", step] == (RATIO[step], 7 + step)
        assert rows["number of outliers", step] == (COUNT[step], 7 + step)
    known = {(row["classifier"], row["step"]): row["value"] for row in carried(accuracies(result))}
    assert len(known) == 6
    assert all(value == ALONE[step] for (_, step), value in known.items())


def test_the_charts_can_be_drawn(result):
    assert "number of outliers" in to_svg(outstanding(result))
    assert "majority class" in to_svg(accuracies(result))


def test_the_page_tells_the_first_and_the_last_step(result):
    shown = page(result)
    assert list(shown.answers) == ["Step 0", "Step 10"]
    assert "ρ is dimension 17, whose variance is 6.2 times the mean" in shown.answers["Step 10"][0]
    assert "&lt;b&gt;a note" in render(shown)
