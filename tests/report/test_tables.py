from __future__ import annotations

import csv
import html
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimscope.core.result import Number
from dimscope.report.tables import cell, shown, to_csv, to_html, to_markdown, to_markdown_text, wide

HOSTILE = "<script>alert('1')</script> | [x](http://e.x) & \"quoted\" `code` \\"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0.823, (0.801, 0.8436)), "0.823 [0.801, 0.844]"),
        ((0.5, None, 0.01), "0.500 ± 0.010"),
        ((0.5, (0.4, 0.6), 0.01), "0.500 ± 0.010 [0.400, 0.600]"),
        ((12.345, (11.0, 13.5), None, "ms"), "12.35 ms [11.00, 13.50]"),
        ((123.45, (99.0, 140.0)), "123.5 [99.0, 140.0]"),
        ((1234.5, (99.0, 2000.0)), "1234 [99, 2000]"),
        ((3.0,), "3"),
        ((1.0,), "1"),
        ((-3.25,), "-3.250"),
        ((0.00012,), "1.2e-04"),
        ((0.0, (0.0, 0.0)), "0.000 [0.000, 0.000]"),
        ((-0.0001, (-0.1, 0.1)), "0.000 [-0.100, 0.100]"),
        ((math.inf,), "inf"),
        ((math.nan, (0.0, 1.0)), "—"),
    ],
)
def test_cells_read_well(arguments, text):
    assert cell(*arguments) == text


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_cell_is_within_half_a_unit_of_its_last_figure(value):
    text = cell(value)
    _, _, exponent = text.partition("e")
    decimals = len(text.partition("e")[0].partition(".")[2])
    assert abs(float(text) - value) <= 0.5000001 * 10.0 ** (int(exponent or 0) - decimals)


def test_wide_agrees_with_a_pivot_and_keeps_the_order():
    numbers = [
        Number(name=name, value=value, where={"model": model, "task": task})
        for value, (name, model, task) in enumerate(
            (name, model, task) for name in ("rho", "full") for model in ("z", "a") for task in ("sst2", "rte")
        )
    ]
    frame = wide(numbers, rows=["model", "task"])
    long = pd.DataFrame([{**n.where, "name": n.name, "value": cell(n.value)} for n in numbers])
    pivot = long.pivot(index=["model", "task"], columns="name", values="value")
    assert list(frame.columns) == ["model", "task", "rho", "full"]
    assert list(frame["model"]) == ["z", "z", "a", "a"]
    pd.testing.assert_frame_equal(
        frame.set_index(["model", "task"]).sort_index(), pivot[["rho", "full"]], check_names=False
    )


def test_wide_shows_what_is_missing_and_takes_columns_from_the_place():
    numbers = [
        Number(name="accuracy", value=0.5, unit="of 1", where={"model": "a", "rule": "exact"}),
        Number(name="accuracy", value=0.25, interval=(0.2, 0.3), where={"model": "b", "rule": "grid"}),
    ]
    assert wide(numbers, rows=["model"], columns="rule").to_dict("list") == {
        "model": ["a", "b"],
        "exact": ["0.500 of 1", "—"],
        "grid": ["—", "0.250 [0.200, 0.300]"],
    }


def test_wide_refuses_to_hide_one_number_behind_another():
    numbers = [Number(name="accuracy", value=0.5, where={"model": "a", "seed": seed}) for seed in (1, 2)]
    with pytest.raises(ValueError, match=r"two numbers 'accuracy'.*'seed': 2"):
        wide(numbers, rows=["model"])


@given(st.lists(st.floats(), min_size=1))
def test_csv_keeps_every_bit(values):
    rows = list(csv.reader(io.StringIO(to_csv(pd.DataFrame({"seed": range(len(values)), "value": values})))))
    back = [float(text or "nan") for _, text in rows[1:]]
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("start", list("=+-@\t\r"))
def test_csv_has_no_formulas(start):
    text = to_csv(pd.DataFrame({f"{start}a": [f"{start}1+1"], "b": [-1.5]}))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows == [[f"'{start}a", "b"], [f"'{start}1+1", "-1.5"]]


def cells_of(markdown: str) -> list[list[str]]:
    """A reader of Markdown tables: split at bars that are not escaped, then take the backslashes away."""
    lines = [re.findall(r"(?:\\.|[^|\\])+", line.strip("|")) for line in markdown.split("\n")]
    return [[re.sub(r"\\(\W)", r"\1", text.strip()) for text in line] for line in lines]


@given(st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip))
def test_markdown_tables_come_back(text):
    heading, rule, row = cells_of(to_markdown(pd.DataFrame({"text": [text], "value": [0.25]})))
    assert heading == ["text", "value"]
    assert rule == ["---", "---"]
    assert row == [" ".join(text.split()), "0.250"]


def test_markdown_has_no_tags_and_no_links():
    text = to_markdown_text(HOSTILE)
    assert re.findall(r"(?<!\\)[<|`&]", text) == []
    assert "](" not in text.replace("\\]", "")
    assert to_markdown_text("# no heading") == "\\# no heading"
    assert to_markdown_text("two\n\nlines") == "two lines"


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes = attrs

    def handle_data(self, data):
        self.texts.append(data)


def test_html_shows_text_as_it_is():
    page = Tags(to_html(pd.DataFrame({HOSTILE: [HOSTILE], "n": [1]}), caption=HOSTILE))
    assert set(page.tags) == {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert page.texts.count(HOSTILE) == 3


def test_html_has_heads_with_scope():
    page = str(to_html(pd.DataFrame({"model": ["a", "b"], "value": [0.25, np.float32(0.5)]})))
    assert page.count('<th scope="col">') == 2
    assert re.findall(r'<th scope="row">(.)</th><td>(.+?)</td>', page) == [("a", "0.250"), ("b", "0.500")]
    assert "<caption>" not in page


def test_what_is_missing_shows_as_a_dash():
    assert [shown(value) for value in (None, pd.NA, float("nan"))] == ["—"] * 3
    assert [shown(value) for value in (True, 7, "x", np.float32(0.25))] == ["True", "7", "x", "0.250"]
    assert html.unescape(to_html(pd.DataFrame({"a": [None]}))).count("—") == 1


def test_counts_have_one_decimal_and_names_bear_the_unit():
    where = {"model": "a"}
    numbers = [
        Number(name="num_shared", value=2.5, interval=(1, 4), unit="dims", where=where),
        Number(name="participation_ratio", value=365.25, unit="dims", where=where),
        Number(name="num_hops", value=3, unit="hops", where=where),
    ]
    assert wide(numbers, rows=["model"]).to_dict("records") == [
        {
            "model": "a",
            "in both": "2.5 [1.0, 4.0]",
            "participation ratio (dimensions)": "365.2",
            "number of hops": "3 hops",
        }
    ]
