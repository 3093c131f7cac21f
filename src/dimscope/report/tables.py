"""Numbers as readers want them: a cell with its interval, and a table as HTML, Markdown or CSV.

HTML and Markdown are for reading (about four significant figures); CSV is for computing (full precision).
Text is made harmless in each: it becomes neither a tag, nor a column, nor a spreadsheet's formula.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment
from markupsafe import Markup

from dimscope.core.result import Number
from dimscope.report.names import NAMES, readable
from dimscope.store.spreadsheets import inert

MISSING = "—"


def cell(
    value: float,
    interval: tuple[float, float] | None = None,
    spread: float | None = None,
    unit: str = "",
    decimals: int | None = None,
) -> str:
    """Give a number as a reader wants it: value, ± spread, unit, [low, high]; its size sets the decimals if none are.

    >>> cell(0.8229, interval=(0.801, 0.8444))
    '0.823 [0.801, 0.844]'
    >>> cell(12.345, spread=0.5, unit="ms"), cell(3.0), cell(0.00012), cell(float("nan"))
    ('12.35 ± 0.50 ms', '3', '1.2e-04', '—')
    """
    if math.isnan(value):
        return MISSING
    ends = interval or ()
    is_count = interval is None and spread is None and value % 1 == 0
    form = "z.0f" if is_count else _format(max(map(abs, [value, *ends]))) if decimals is None else f"z.{decimals}f"
    parts = [f"{value:{form}}"]
    if spread is not None:
        parts.append(f"± {spread:{form}}")
    if unit:
        parts.append(unit)
    if ends:
        parts.append(f"[{ends[0]:{form}}, {ends[1]:{form}}]")
    return " ".join(parts)


def cell_of(number: Number) -> str:
    """Give a number with its interval, without its unit, as a sentence names it.

    >>> cell_of(Number(name="accuracy", value=0.8229, interval=(0.801, 0.8444)))
    '0.823 [0.801, 0.844]'
    """
    return cell(number.value, number.interval)


def wide(numbers: Sequence[Number], rows: Sequence[str], columns: str = "name") -> pd.DataFrame:
    """Give a table of cells: a row for each place along `rows`, a column for each value of `columns`.

    `rows` and `columns` name parts of a number's place, or "name" for its name in a reader's words. All stand in the
    order met; cells without a number hold a dash.

    Raises:
        ValueError: two numbers fall into one cell.

    >>> numbers = [Number(name=name, value=0.5, where={"model": "bert"}) for name in ("accuracy", "majority")]
    >>> wide(numbers, rows=["model"])
      model accuracy majority
    0  bert    0.500    0.500
    """
    table: dict[tuple[Any, ...], dict[str, str]] = {}
    for number in numbers:
        place = {**number.where, "name": readable(number.name)}
        row = table.setdefault(tuple(place.get(key, MISSING) for key in rows), {})
        column = str(place.get(columns, MISSING))
        if column in row:
            raise ValueError(
                f"two numbers {number.name!r} fall into one cell: {place}; name what tells them apart in rows"
            )
        row[column] = _of(number)
    headings = list(dict.fromkeys(column for row in table.values() for column in row))
    cells = [[*key, *(row.get(column, MISSING) for column in headings)] for key, row in table.items()]
    return pd.DataFrame(cells, columns=[*rows, *headings])


def _of(number: Number) -> str:
    """A cell; the mean of counts has one decimal, and a name in `NAMES` has the unit in it."""
    unit = "" if number.name in NAMES else number.unit
    return cell(number.value, number.interval, unit=unit, decimals=1 if number.name.startswith("num_") else None)


def to_csv(frame: pd.DataFrame) -> str:
    """Give the frame as CSV (RFC 4180), in full precision; what looks like a formula gets a leading quote.

    >>> to_csv(pd.DataFrame({"task": ["=1+1"], "accuracy": [-0.1]}))
    "task,accuracy\\r\\n'=1+1,-0.1\\r\\n"
    """
    return frame.map(inert).rename(columns=inert).to_csv(index=False, lineterminator="\r\n")


def to_markdown(frame: pd.DataFrame) -> str:
    """Give the frame as a table in Markdown (GitHub's), every row on one line.

    >>> print(to_markdown(pd.DataFrame({"rule": ["a|b"], "accuracy": [0.5]})))
    | rule | accuracy |
    | --- | --- |
    | a\\|b | 0.500 |
    """
    lines = [list(frame.columns), ["---"] * frame.shape[1], *frame.to_numpy(dtype=object).tolist()]
    return "\n".join(f"| {' | '.join(to_markdown_text(shown(value)) for value in line)} |" for line in lines)


def to_markdown_text(text: str) -> str:
    """Give text that Markdown shows as it is: one line, with no tags, links or columns of its own."""
    return re.sub(r"^[#+-](?= )|^>|[\\`*~<&|]|\](?=[(:])", r"\\\g<0>", " ".join(text.split()))


_HTML = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<table>
{% if caption %}
<caption>{{ caption }}</caption>
{% endif %}
<thead><tr>{% for name in names %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ row[0] }}</th>{% for text in row[1:] %}<td>{{ text }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
""")


def to_html(frame: pd.DataFrame, caption: str = "") -> Markup:
    """Give the frame as an escaped HTML table; its first column heads the rows.

    >>> "<td>&lt;b&gt;</td>" in to_html(pd.DataFrame({"seed": [1], "text": ["<b>"]}))
    True
    """
    rows = [[_unbroken(shown(value)) for value in row] for row in frame.to_numpy(dtype=object)]
    return Markup(_HTML.render(names=list(frame.columns), rows=rows, caption=caption))


def shown(value: Any) -> str:
    """Give a frame's entry as text for readers."""
    if isinstance(value, float | np.floating):
        return cell(float(value))
    return MISSING if pd.isna(value) else str(value)


def _unbroken(text: str) -> str:
    """Keep the ends of an interval in one line, where a narrow table breaks its cells."""
    return re.sub(r"\[[^]]*\]", lambda interval: interval[0].replace(" ", "\N{NO-BREAK SPACE}"), text)


def _format(size: float) -> str:
    """The format of numbers of that size: four figures, three decimals at most, unless it is tiny."""
    if 0 < size < 0.001:
        return ".1e"
    return f"z.{max(0, 3 - math.floor(math.log10(size))) if 10 <= size < math.inf else 3}f"
