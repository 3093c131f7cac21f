"""Five tasks of GLUE (Wang et al. 2019, 1804.07461) from the data hub, or from a folder in GLUE's columns.

A folder holds `train` and `validation` (or `dev`) as TSV, Parquet, JSONL or CSV, with the columns of the original
download or of the hub. Labels are numbers or names; their order is the hub's, so that entailment is 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from dimscope.core.errors import UserError
from dimscope.core.progress import work
from dimscope.data.columns import class_values, to_split
from dimscope.data.files import SUFFIXES, Table, read_table, read_unquoted
from dimscope.data.task import Labeled, Split
from dimscope.store.hub import Unreached, snapshot


@dataclass(frozen=True)
class Layout:
    """The columns of a task's texts and class, in every spelling, and the names of the classes."""

    texts: tuple[tuple[str, ...], ...]
    label_names: tuple[str, str]
    label: tuple[str, ...] = ("label",)


_ENTAILMENT = ("entailment", "not_entailment")
LAYOUTS = {
    "sst2": Layout((("sentence",),), ("negative", "positive")),
    "qnli": Layout((("question", "sentence"),), _ENTAILMENT),
    "qqp": Layout((("question1", "question2"),), ("not_duplicate", "duplicate"), label=("label", "is_duplicate")),
    "mrpc": Layout(
        (("sentence1", "sentence2"), ("#1 String", "#2 String")),
        ("not_equivalent", "equivalent"),
        label=("label", "Quality"),
    ),
    "rte": Layout((("sentence1", "sentence2"),), _ENTAILMENT),
}


def read_glue(task: str, folder: Path) -> Labeled:
    """Read one of the five tasks from a folder.

    Raises:
        UserError: a split is missing, has other columns, or labels that are none.
    """
    layout = LAYOUTS[task]
    tables = [_table(folder, names) for names in (("train",), ("validation", "dev"))]
    train, validation = (_split(table, layout, f"{task} in {folder}") for table in tables)
    notes = tuple(note for table in tables for note in table.notes)
    return Labeled(layout.label_names, train, validation, notes)


def named_like_a_task(folder: Path) -> str:
    """Tell the task by the folder's name.

    >>> named_like_a_task(Path("glue_data/SST-2"))
    'sst2'

    Raises:
        UserError: it is not named like one of the five.
    """
    name = re.sub(r"[^a-z0-9]", "", folder.resolve().name.lower())
    if name not in LAYOUTS:
        raise UserError(
            f"the folder {folder} is not named like a task of GLUE. Give glue/NAME@{folder} with NAME one of "
            f"{', '.join(LAYOUTS)}; or a file with a text column and a label column"
        )
    return name


def hub_folder(task: str) -> Path:
    """Give the folder of a task as the data hub has it, which is fetched once.

    Raises:
        UserError: the hub is not reached, and no copy lies in its cache.
    """
    wanted = (f"{task}/train*.parquet", f"{task}/validation*.parquet")
    unreached = UserError(
        f"cannot fetch glue/{task}: the data hub is not reached, and no copy lies in its cache. Give a folder with "
        f"the files train and validation (or dev; TSV, Parquet or JSONL) as glue/{task}@FOLDER"
    )
    try:
        with work(f"fetching glue/{task}", total=1) as done:
            folder = snapshot("nyu-mll/glue", "dataset", wanted) / task
            done(1)
    except Unreached as error:
        raise unreached from error
    # Without a network the cache's copy is given, even where only other tasks were ever fetched.
    if not folder.is_dir():
        raise unreached
    return folder


def _table(folder: Path, names: tuple[str, ...]) -> Table:
    """Read the one file of a split: `train.tsv`, or `train-00000-of-00001.parquet` as the hub names it."""
    patterns = [f"{name}{part}{suffix}" for name in names for part in ("", "-*") for suffix in SUFFIXES]
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    if len(found) != 1:
        raise UserError(
            f"wanted one file {' or '.join(names)} ({', '.join(SUFFIXES)}) in {folder}, found "
            f"{', '.join(path.name for path in found) or 'none'}"
        )
    return read_unquoted(found[0]) if found[0].suffix == ".tsv" else read_table(found[0])


def _split(table: Table, layout: Layout, where: str) -> Split:
    inputs = next((names for names in layout.texts if table.columns.keys() >= set(names)), None)
    label = next((name for name in layout.label if name in table.columns), None)
    if inputs is None or label is None:
        wanted = " or ".join(", ".join((*names, layout.label[0])) for names in layout.texts)
        raise UserError(f"wanted the columns {wanted} for {where}, found {', '.join(table.columns)}")
    return to_split(table, inputs, _labels(table, label, layout, where))


def _labels(table: Table, column: str, layout: Layout, where: str) -> Int64[np.ndarray, " sentences"]:
    meaning = {spelling: label for label, name in enumerate(layout.label_names) for spelling in (str(label), name)}
    values = [str(value).strip() for value in class_values(table, column)]
    for value in values:
        if value not in meaning:
            raise UserError(f"wanted labels among {', '.join(meaning)} for {where}, got {value!r}")
    return np.array([meaning[value] for value in values], np.int64)
