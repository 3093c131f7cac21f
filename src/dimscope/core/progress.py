"""Long work tells how far it is, and whoever wants to see it listens.

The library reports steps and never prints; the command line installs a listener that draws bars with the time left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Listener(Protocol):
    """Sees the beginning, the steps and the end of every piece of long work, and single messages."""

    def begin(self, what: str, total: int) -> Callable[[int], None]:
        """Return what is called with the number of steps just done."""

    def end(self, what: str) -> None:
        """Hear that the work named `what` is over, done or broken off."""

    def say(self, message: str) -> None:
        """Take a line that a user wants to read."""


class _Silence:
    def begin(self, what: str, total: int) -> Callable[[int], None]:
        return lambda steps: None

    def end(self, what: str) -> None:
        pass

    def say(self, message: str) -> None:
        pass


_SILENCE = _Silence()
_listener: ContextVar[Listener] = ContextVar("listener", default=_SILENCE)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within the block, report to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def work(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Within the block, call what is given with the number of steps just done, out of `total`.

    >>> with work("states", total=2) as done:
    ...     done(2)
    """
    listener = _listener.get()
    try:
        yield listener.begin(what, total)
    finally:
        listener.end(what)


def say(message: str) -> None:
    """Tell the user one line."""
    _listener.get().say(message)
