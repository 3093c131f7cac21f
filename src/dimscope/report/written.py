"""A page written to an output folder: report.html, report.md, tables as CSV, figures as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

from dimscope.report.page import Page, render, to_markdown_page
from dimscope.report.tables import to_csv
from dimscope.report.theme import to_png, to_svg
from dimscope.store.files import write_bytes, write_text


def write_page(out: Path, page: Page) -> Path:
    """Write the page with its tables and figures, and give the path of report.html."""
    for table in page.tables:
        frame = table.frame if table.exact is None else table.exact
        write_text(out / "tables" / f"{table.name}.csv", to_csv(frame))
    for section in page.sections:
        for figure in section.figures:
            write_text(out / "figures" / f"{figure.name}.svg", to_svg(figure.chart))
            write_bytes(out / "figures" / f"{figure.name}.png", to_png(figure.chart))
    write_text(out / "report.md", to_markdown_page(page))
    write_text(out / "report.html", render(page))
    return out / "report.html"
