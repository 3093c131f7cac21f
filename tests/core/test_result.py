import numpy as np
import pytest

from dimscope.core.errors import UnknownName
from dimscope.core.result import Array, Number, Result

RESULT = Result(
    numbers=[
        Number(name="accuracy", value=0.8, interval=(0.7, 0.9), where={"seed": 1, "rule": "exact"}),
        Number(name="accuracy", value=0.6, where={"seed": 1, "rule": "grid"}),
    ]
)


def test_a_number_is_found_by_its_name_and_place():
    assert RESULT.value("accuracy", rule="grid") == 0.6


def test_an_ambiguous_place_is_an_error_that_tells_the_places():
    with pytest.raises(LookupError, match=r"2 numbers 'accuracy' .*'rule': 'grid'"):
        RESULT.number("accuracy", seed=1)


def test_an_unknown_number_is_told_with_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'accuracy'"):
        RESULT.value("acuracy")


def test_a_place_that_is_added_does_not_overwrite():
    added = RESULT.at({"seed": 2, "model": "minilm"})
    assert dict(added.numbers[0].where) == {"seed": 1, "rule": "exact", "model": "minilm"}


def test_the_table_has_a_row_for_each_number():
    frame = RESULT.to_pandas()
    assert frame["value"].tolist() == [0.8, 0.6]
    assert frame["low"].tolist()[0] == 0.7
    assert np.isnan(frame["low"].tolist()[1])


@pytest.mark.parametrize(("axes", "ticks"), [(("dim",), {}), (("site", "dim"), {"site": ["final"]})])
def test_an_array_must_have_a_name_for_each_axis_and_a_label_for_each_place(axes, ticks):
    with pytest.raises(ValueError, match=r"axes|places"):
        Array(np.zeros((2, 3)), axes, ticks=ticks)
