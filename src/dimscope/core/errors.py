"""Every error that a user can cause, and how it is worded: what was wanted, what came, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import ValidationError

_WORDINGS = {
    "too_short": "wanted at least one",
    "string_too_short": "wanted a name",
    "extra_forbidden": "there is no such setting",
    "int_parsing": "wanted a whole number",
    "float_parsing": "wanted a number",
}
"""What pydantic says with words that are no user's."""


class UserError(ValueError):
    """Something that the user can put right. The command line prints it without a traceback and exits with 2."""


class UnknownName(UserError):
    """A name that is not among the known ones; the message offers the nearest.

    >>> print(UnknownName("task", "sst", ["glue/sst2", "movie_reviews"]))
    unknown task 'sst'. Did you mean 'glue/sst2'? Known: glue/sst2, movie_reviews
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = list(known)
        message = f"unknown {kind} {name!r}.{_nearest(name, known)} Known: {', '.join(known) or 'none'}"
        super().__init__(f"{message}. {hint}" if hint else message)
        self.name = name


def _nearest(name: str, known: list[str]) -> str:
    """' Did you mean …?' for the most similar known name; a part after the last slash counts as the name too."""
    last_parts = {full.rsplit("/")[-1].lower(): full for full in known}
    by_spelling = {**last_parts, **{full.lower(): full for full in known}}
    matches = difflib.get_close_matches(name.lower(), by_spelling, n=1, cutoff=0.6)
    return f" Did you mean {by_spelling[matches[0]]!r}?" if matches else ""


def explain(error: ValidationError) -> str:
    """Put what pydantic found wrong into one line: which setting, what is wanted, what came."""
    wrong = (
        f"{'.'.join(map(str, each['loc']))}: {_WORDINGS.get(each['type'], each['msg'])}, got {each['input']!r}"
        for each in error.errors()
        # A list with a wrong member is also told to be too short.
        if not (each["type"] == "too_short" and each["input"])
    )
    return "; ".join(wrong)
