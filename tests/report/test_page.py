from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import altair as alt
import pandas as pd
import pytest

from dimscope.report.page import Figure, Page, Section, Table, as_text, render, to_markdown_page
from dimscope.report.theme import scripts, themed, to_spec

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \"quoted\" 'too' & {{ 1 }}"
EMPTY = {"meta", "link", "img", "br", "input"}


class Parsed(HTMLParser):
    """A page taken apart: tags with attributes, and the text in each kind of element; tags close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.text[self.open[-1]][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def figure(name: str, label: str) -> Figure:
    frame = pd.DataFrame({"label": [label, "b"], "value": [0.1, 0.2]})
    chart = themed(alt.Chart(frame).mark_point().encode(x="value:Q", y="label:N"), label, label)
    return Figure(name, chart, f"caption of {name} {label}")


def page(label: str) -> Page:
    frame = pd.DataFrame({label: [label], "accuracy": [0.823]})
    return Page(
        title=f"title {label}",
        question=f"question {label}",
        introduction=[f"introduction {label}"],
        verdicts=Table("verdicts", pd.DataFrame({label: [label]}), f"verdict {label}"),
        answers={f"about {label}": [f"first {label}", f"second {label}"]},
        sections=[
            Section(
                f"one {label}",
                [f"text {label}"],
                [Table("t1", frame, f"caption {label}")],
                f"reading {label}",
                [figure("f1", label)],
            ),
            Section(f"two {label}", figures=[figure("f2", label), figure("f3", label)]),
        ],
        caveats=[f"caveat {label}"],
        settings={label: label, "seeds": [1, 2]},
        provenance={"commit": label},
        sources=[f"Somebody, {label} https://example.org/paper (Eqn 1)"],
        citations=[f"@misc{{key,\n  title = {{{label}}}\n}}"],
    )


@pytest.fixture(scope="module")
def plain() -> Parsed:
    return Parsed(render(page("plain")))


@pytest.fixture(scope="module")
def hostile() -> Parsed:
    return Parsed(render(page(HOSTILE)))


def test_every_part_stands_in_the_page_once(plain):
    assert plain.text["h1"] == ["title plain"]
    assert plain.text["h2"] == [
        "The answer",
        "one plain",
        "two plain",
        "Caveats",
        "Settings",
        "Where it comes from",
        "Sources",
    ]
    assert [attributes["id"] for attributes in plain.all("figure")] == ["figure-f1", "figure-f2", "figure-f3"]
    assert plain.text["figcaption"] == [f"caption of {name} plain" for name in ("f1", "f2", "f3")]
    assert plain.text["h3"] == ["about plain"]
    assert plain.text["pre"] == ["@misc{key,\n  title = {plain}\n}"]
    assert plain.text["caption"] == ["verdict plain", "caption plain"] + ["The numbers of this figure"] * 3
    paragraphs = [f"{part} plain" for part in ("question", "introduction", "first", "second", "text", "reading")]
    assert [text for text in plain.text["p"] if "plain" in text] == paragraphs
    assert dict(zip(plain.text["dt"], plain.text["dd"], strict=True)) == {
        "plain": "plain",
        "seeds": "1, 2",
        "commit": "plain",
    }


@pytest.mark.parametrize("label", ["plain", HOSTILE])
def test_charts_reach_the_page_unchanged(label):
    written = page(label)
    parsed = Parsed(render(written))
    kinds = [attributes.get("type") for attributes in parsed.all("script")]
    specs = [json.loads(text) for text, kind in zip(parsed.text["script"], kinds, strict=True) if kind]
    charts = [figure.chart for section in written.sections for figure in section.figures]
    assert specs == [to_spec(chart) for chart in charts]


def test_hostile_text_adds_no_element_and_is_shown_as_it_is(plain, hostile):
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert not [name for _, attributes in hostile.tags for name in attributes if name.startswith("on")]
    assert f"question {HOSTILE}" in hostile.text["p"]
    assert f"one {HOSTILE}" in hostile.text["h2"]
    assert f"caveat {HOSTILE}" in hostile.text["li"]
    assert HOSTILE in hostile.text["th"]
    assert hostile.text["dd"] == [HOSTILE, "1, 2", HOSTILE]


def test_only_the_two_scripts_of_the_page_may_run(hostile):
    (policy,) = [meta["content"] for meta in hostile.all("meta") if "http-equiv" in meta]
    kinds = [attributes.get("type") for attributes in hostile.all("script")]
    own = [text for text, kind in zip(hostile.text["script"], kinds, strict=True) if not kind]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in own]
    assert own[0] == scripts()
    assert len(own) == 2
    assert re.findall(r"'sha256-(.+?)'", policy) == hashes
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy.partition("script-src")[2]


def test_the_page_loads_nothing(hostile):
    assert not hostile.all("link") + hostile.all("img") + hostile.all("iframe")
    assert not [attributes for _, attributes in hostile.tags if "src" in attributes]
    assert not re.search(r"@import|url\(", "".join(hostile.text["style"]))
    targets = [attributes["href"] for attributes in hostile.all("a")]
    outside = [target for target in targets if not target.startswith("#")]
    assert outside == ["https://example.org/paper"]
    anchors = {attributes["id"] for _, attributes in hostile.tags if "id" in attributes}
    assert {target[1:] for target in targets if target.startswith("#")} <= anchors


def test_the_page_can_be_found_through_by_keyboard_and_reader(plain):
    identities = [attributes["id"] for _, attributes in plain.tags if "id" in attributes]
    assert len(identities) == len(set(identities))
    assert next(name for name, _ in plain.tags if name in ("a", "h1", "p")) == "a"
    assert all(
        attributes["tabindex"] == "0" for attributes in plain.all("div") if "scroll" in attributes.get("class", "")
    )
    assert {attributes.get("aria-labelledby") for attributes in plain.all("section")} <= set(identities)
    assert len(plain.all("caption")) == len(plain.all("table"))
    assert plain.all("html") == [{"lang": "en"}]
    assert len(plain.all("noscript")) == 1


def test_a_figure_of_many_rows_has_no_table():
    frame = pd.DataFrame({"x": range(61)})
    chart = alt.Chart(frame).mark_point().encode(x="x:Q")
    assert Figure("many", chart, "").numbers is None
    assert len(Figure("few", alt.Chart(frame[:60]).mark_point(), "").numbers) == 60
    assert Figure("none", alt.layer(), "").numbers is None


def test_markdown_has_the_same_parts():
    lines = to_markdown_page(page("plain")).split("\n")
    assert [line for line in lines if line.startswith("#")] == [
        "# title plain",
        "## about plain",
        "## one plain",
        "## two plain",
        "## Caveats",
        "## Settings",
        "## Provenance",
        "## Sources",
    ]
    assert [line for line in lines if line.startswith("![")] == [
        f"![caption of {name} plain](figures/{name}.svg)" for name in ("f1", "f2", "f3")
    ]
    assert lines[lines.index("**caption plain**") + 2 :][:3] == [
        "| plain | accuracy |",
        "| --- | --- |",
        "| plain | 0.823 |",
    ]
    assert {"- seeds: 1, 2", "- commit: plain", "*question plain*"} <= set(lines)


def test_hostile_text_is_inert_in_markdown():
    text = to_markdown_page(page(HOSTILE + " ![x](http://e.x)\n# heading"))
    code = re.findall(r"^    .*\n", text, re.M)
    assert len(code) == 4
    text = text.replace("".join(code), "")
    assert not re.search(r"(?<!\\)<", text)
    assert text.count("](") == text.count("](figures/") + text.count("\\](")
    assert len(re.findall(r"^#+ ", text, re.M)) == 8


def test_empty_parts_leave_no_heading():
    bare = Parsed(render(Page(title="t", question="q", answers={}, sections=[])))
    assert bare.text["h2"] == ["The answer"]
    assert not bare.all("nav")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ρ", "ρ"),
        (5.0, "5"),
        (2e-5, "2e-05"),
        (304.609123, "304.609"),
        (7, "7"),
        (True, "True"),
        (None, "not set"),
        ([1, 2], "1, 2"),
        ((), "none"),
        (
            {"clip_norm": None, "num_draws": 3, "places": ["final", "every layer"]},
            "clip norm not set; number of draws 3; places final, every layer",
        ),
    ],
)
def test_settings_are_written_for_readers(value, text):
    assert as_text(value) == text
