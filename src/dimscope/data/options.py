"""How a task's data are read and how much of them is taken."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from pydantic import Field

from dimscope.core.errors import UserError
from dimscope.core.method import Settings

_ALWAYS = {"limit", "max_length"}


class TaskOptions(Settings):
    """What a user may choose about a task. What a task would ignore is an error when it is loaded."""

    limit: int | None = Field(None, ge=1)
    """At most so many sentences of each split, the classes in their proportions."""
    max_length: int = Field(256, ge=4)
    """Longer texts are cut to so many tokens."""
    validation_fraction: float = Field(0.12, gt=0, le=0.5)
    """Share of the sentences that is held out where the data have no validation split of their own."""
    neutral_band: float = Field(0.0, ge=0)
    """Graded tasks: sentences rated nearer to 0 than this are left out."""
    text_column: str | None = Field(None, min_length=1)
    """Own files: the column of the text."""
    pair_column: str | None = Field(None, min_length=1)
    """Own files: the column of the second text, for sentence pairs."""
    label_column: str | None = Field(None, min_length=1)
    """Own files: the column of the class."""
    validation_file: Path | None = None
    """Own files: a second file, to be held out."""


def refuse_ignored(options: TaskOptions, task: str, used: Set[str]) -> None:
    """Refuse options that the task would ignore: all that differ from their defaults and are not among `used`.

    >>> refuse_ignored(TaskOptions(limit=10, label_column="stars"), "movie_reviews", set())
    Traceback (most recent call last):
    dimscope.core.errors.UserError: the task 'movie_reviews' takes no label_column: leave that out

    Raises:
        UserError: there is such an option.
    """
    changed = [name for name, value in TaskOptions() if getattr(options, name) != value]
    ignored = [name for name in changed if name not in used | _ALWAYS]
    if ignored:
        raise UserError(f"the task {task!r} takes no {', '.join(ignored)}: leave that out")
