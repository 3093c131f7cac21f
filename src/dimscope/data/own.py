"""A user's own files as a task: one that is split, or one to learn from and one that is held out."""

from __future__ import annotations

from pathlib import Path

from dimscope.core.errors import UserError
from dimscope.data.classes import number_classes
from dimscope.data.columns import class_column, class_values, text_columns, to_split
from dimscope.data.files import read_table
from dimscope.data.options import TaskOptions
from dimscope.data.task import Labeled


def read_own(path: Path, options: TaskOptions) -> Labeled:
    """Read texts and classes from the columns that were asked for, or that bear usual names.

    Raises:
        UnknownName: there is no column of the name that was asked for.
        UserError: a file cannot be read, it is not told which columns are meant, or a value is missing.
    """
    tables = [read_table(each) for each in (path, options.validation_file) if each]
    inputs = text_columns(list(tables[0].columns), options)
    label = class_column(list(tables[0].columns), options)
    if label in inputs:
        raise UserError(f"the column {label!r} cannot hold both text and class: choose two columns")
    label_names, labels = number_classes(*(class_values(table, label) for table in tables))
    train, *held_out = (to_split(table, inputs, numbers) for table, numbers in zip(tables, labels, strict=True))
    notes = tuple(note for table in tables for note in table.notes)
    return Labeled(label_names, train, held_out[0] if held_out else None, notes)
