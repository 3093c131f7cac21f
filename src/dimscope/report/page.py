"""A study as one page of HTML or Markdown: a question, its answer, and the tables and charts behind it.

The HTML asks nothing of the network: charts are JSON inside it, drawn by the Vega-Lite that it carries. Its
content security policy lets no other script run, whatever text the data bring along.
"""

from __future__ import annotations

import base64
import hashlib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from dimscope.report.names import readable
from dimscope.report.tables import to_html, to_markdown, to_markdown_text
from dimscope.report.theme import Chart, scripts, to_spec

_MOST_ROWS_READ_ALOUD = 60


@dataclass(frozen=True)
class Figure:
    """A chart; `name` is that of its file, `caption` says what to see in it."""

    name: str
    chart: Chart
    caption: str

    @property
    def numbers(self) -> pd.DataFrame | None:
        """What the chart shows as a table, where that is short enough to be read in its stead."""
        data = self.chart.data
        return data if isinstance(data, pd.DataFrame) and len(data) <= _MOST_ROWS_READ_ALOUD else None


@dataclass(frozen=True)
class Table:
    """A frame to be read; `name` is that of its file, which holds `exact`, the same in full precision, if there is
    that."""

    name: str
    frame: pd.DataFrame
    caption: str
    exact: pd.DataFrame | None = None


@dataclass(frozen=True)
class Section:
    """Paragraphs of plain text, then tables, then how the figures are read, then those."""

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    reading: str = ""
    figures: Sequence[Figure] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """What was asked, the answer in a few sentences, what it rests on, and how it was made.

    `introduction` says what a reader must know to understand the answers; those stand under what they are about, and
    `verdicts` is all of them in one table. `citations` are shown letter by letter.
    """

    title: str
    question: str
    introduction: Sequence[str] = ()
    verdicts: Table | None = None
    answers: Mapping[str, Sequence[str]]
    sections: Sequence[Section]
    caveats: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sources: Sequence[str] = ()
    citations: Sequence[str] = ()

    @property
    def tables(self) -> list[Table]:
        """Every table, in the order of the page."""
        first = [self.verdicts] if self.verdicts else []
        return [*first, *(table for section in self.sections for table in section.tables)]


def render(page: Page) -> str:
    """Give the page as one HTML file: no request leaves it, and nothing in it runs but its own two scripts.

    >>> page = Page(title="A & B", question="Which?", answers={"Us": ["Both."]}, sections=[])
    >>> "<h1>A &amp; B</h1>" in render(page)
    True
    """
    template = _templates().get_template("page.html")
    return template.render(page=page, libraries=Markup(scripts()), script_hash=_script_hash)


def to_markdown_page(page: Page) -> str:
    """Give the page as Markdown, its figures as links to figures/<name>.svg.

    >>> page = Page(title="Outliers", question="Which?", answers={"bert": ["Dimension 99."]}, sections=[])
    >>> print(to_markdown_page(page))
    # Outliers
    <BLANKLINE>
    *Which?*
    <BLANKLINE>
    ## bert
    <BLANKLINE>
    Dimension 99.
    """
    blocks = [f"# {to_markdown_text(page.title)}", f"*{to_markdown_text(page.question)}*"]
    blocks += map(to_markdown_text, page.introduction)
    blocks += _table(page.verdicts) if page.verdicts else []
    for about, sentences in page.answers.items():
        blocks += [f"## {to_markdown_text(about)}", to_markdown_text(" ".join(sentences))]
    for section in page.sections:
        blocks += _section(section)
    blocks += _list("Caveats", page.caveats)
    blocks += _list("Settings", [f"{readable(name)}: {as_text(value)}" for name, value in page.settings.items()])
    blocks += _list("Provenance", [f"{readable(name)}: {as_text(value)}" for name, value in page.provenance.items()])
    blocks += _list("Sources", page.sources)
    # Indented, so that nothing in a citation is read as Markdown.
    blocks += [textwrap.indent(citation, "    ") for citation in page.citations]
    return "\n\n".join(blocks) + "\n"


def as_text(value: object) -> str:
    """Give a setting as a reader wants it: words, and commas between several.

    >>> as_text({"learning_rate": 3e-05, "schedule": "constant", "clip_norm": None, "seeds": [1, 2]})
    'learning rate 3e-05; schedule constant; clip norm not set; seeds 1, 2'
    """
    if value is None:
        return "not set"
    if isinstance(value, Mapping):
        return "; ".join(f"{readable(name)} {as_text(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(as_text, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def file_name(*parts: str) -> str:
    """Give a name for the file of a figure or table that holds those of models and tasks.

    >>> file_name("d_curve", "tiny/bert", "glue/rte")
    'd_curve-tiny_bert-glue_rte'
    >>> file_name("heads", "trained here, 30% noise")
    'heads-trained_here_30_noise'
    """
    return "-".join(parts).translate(str.maketrans("/ ", "__", ",%"))


def _section(section: Section) -> list[str]:
    blocks = [f"## {to_markdown_text(section.title)}", *map(to_markdown_text, section.text)]
    for table in section.tables:
        blocks += _table(table)
    blocks += [to_markdown_text(section.reading)] if section.reading else []
    for figure in section.figures:
        caption = to_markdown_text(figure.caption)
        blocks += [f"![{caption}](figures/{quote(figure.name, safe='')}.svg)", caption]
    return blocks


def _table(table: Table) -> list[str]:
    return [f"**{to_markdown_text(table.caption)}**", to_markdown(table.frame)]


def _list(title: str, items: Sequence[str]) -> list[str]:
    return [f"## {title}", "\n".join(f"- {to_markdown_text(item)}" for item in items)] if items else []


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("dimscope.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"spec": to_spec, "as_text": as_text, "readable": readable}
    environment.globals["table"] = to_html
    return environment


def _script_hash(script: str) -> str:
    """How a content security policy names a script that it lets run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
