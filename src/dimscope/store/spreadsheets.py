"""Text that goes into files which spreadsheets open."""

from __future__ import annotations


def inert(cell: object) -> object:
    """Keep a spreadsheet from running text that looks like a formula; numbers stay as they are.

    >>> inert("=1+1"), inert(-1)
    ("'=1+1", -1)
    """
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in set("=+-@\t\r") else cell
