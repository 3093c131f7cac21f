from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from dimscope.core.errors import UserError
from dimscope.data.options import TaskOptions, refuse_ignored


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"validation_fraction": 0},
        {"validation_fraction": 0.6},
        {"neutral_band": -1},
        {"max_length": 1},
        {"text_colum": "a"},
    ],
)
def test_values_out_of_range_and_unknown_names_are_refused(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        TaskOptions(**wrong)


def test_what_was_left_as_it_is_or_is_used_is_not_refused():
    refuse_ignored(TaskOptions(limit=3, max_length=8, label_column="x", neutral_band=0), "t", {"label_column"})
    refuse_ignored(TaskOptions(**TaskOptions().model_dump()), "t", set())


def test_all_that_would_be_ignored_is_named():
    options = TaskOptions(text_column="a", validation_file=Path("b"), validation_fraction=0.3)
    with pytest.raises(UserError, match="'t' takes no validation_fraction, validation_file"):
        refuse_ignored(options, "t", {"text_column"})


def test_every_option_is_described():
    assert all(field.description for field in TaskOptions.model_fields.values())
