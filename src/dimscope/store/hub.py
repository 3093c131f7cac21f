"""Repositories of the model hub and the data hub, fetched once into the hub's own cache."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import constants, get_session, snapshot_download
from huggingface_hub.errors import HFValidationError, HTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import tqdm

from dimscope.core.errors import UserError
from dimscope.store.files import telling_why

_PATIENCE_S = 3.0
"""A slow hub has answered by then, and a command that gets no answer still ends within ten seconds."""


class Unreached(Exception):
    """The hub did not answer as it should, and no copy lies in its cache."""


# Cached, because one command must not see two commits, nor wait for a silent hub at each bench.
@cache
def snapshot(
    name: str, kind: Literal["model", "dataset"], wanted: tuple[str, ...], unwanted: tuple[str, ...] = ()
) -> Path:
    """Give the folder with the wanted files of a repository (patterns); the folder's name is the commit.

    Where the hub is not reached, the copy that was fetched before is taken.

    Raises:
        Unreached: neither the hub nor a copy is there.
        UserError: the hub has no such public repository, or the disk is full.
    """
    fetch = partial(
        snapshot_download,
        name,
        repo_type=kind,
        allow_patterns=list(wanted),
        ignore_patterns=list(unwanted),
        etag_timeout=_PATIENCE_S,
        tqdm_class=_NoBar,
    )
    try:
        # `snapshot_download` asks without a limit: it would wait forever for a hub that is silent.
        get_session().get(f"{constants.ENDPOINT}/api/{kind}s/{name}", timeout=_PATIENCE_S)
        with telling_why(Path(constants.HF_HUB_CACHE)):
            return Path(fetch())
    except UserError:
        raise
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UserError(
            f"the hub has no public {kind} {name!r}, and no local folder is so named. Check the spelling."
        ) from error
    except (HTTPError, OSError, ValueError):  # a page that asks for a login is no JSON: a ValueError
        return _copy(fetch)


def _copy(fetch: partial[str]) -> Path:
    try:
        return Path(fetch(local_files_only=True))
    except LocalEntryNotFoundError as error:
        raise Unreached from error


class _NoBar(tqdm):
    """Progress is told to whoever listens, and not printed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "disable": True})
