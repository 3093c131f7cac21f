"""log.txt: what a command did and when, a line at a time; the one file that is added to and never rewritten."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from dimscope.core.errors import UserError
from dimscope.core.provenance import provenance
from dimscope.store.files import append_line


@contextmanager
def log(path: Path, command: str) -> Iterator[Callable[[str], None]]:
    """Within the block, add every message that what is given is called with, each with its time.

    The first line names the command and the versions, the last one the seconds it took, or why it stopped.

    Raises:
        UserError: the disk is full or closed, or a file stands in the way.
    """
    started = time.monotonic()

    def add(message: str) -> None:
        append_line(path, f"{datetime.now().astimezone().isoformat(timespec='seconds')} {' '.join(message.split())}")

    versions = ", ".join(f"{package} {number}" for package, number in provenance(seconds=0)["versions"].items())
    add(f"started: {command} ({versions})")
    try:
        yield add
    except BaseException as error:
        # Where the disk is full, that is the message, and not that the log could not tell it.
        with suppress(UserError):
            add(f"stopped after {time.monotonic() - started:.1f} s: {_reason(error)}")
        raise
    add(f"done in {time.monotonic() - started:.1f} s")


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
