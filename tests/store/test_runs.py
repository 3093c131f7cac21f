import json

import numpy as np
import pytest

from dimscope.core.result import Array, Number, Result
from dimscope.store.layout import Store

RESULT = Result(
    numbers=[
        Number(
            name="accuracy",
            value=0.75,
            interval=(0.5, 0.9),
            unit="",
            better="higher",
            where={"seed": 1, "model": "m"},
        ),
        Number(name="jaccard_score", value=float("nan"), where={"seed": 1, "model": "m"}),
    ],
    arrays={"variance": Array(np.arange(6.0).reshape(1, 6), ("site", "dim"), "u", {"site": ["final"]})},
    notes=["careful"],
    method="measure/x",
    sources=["somebody 2023"],
    settings={"factor": 5.0},
    bench={"seed": 1},
    provenance={"seconds": 1.0},
)


def test_a_run_comes_back_as_it_was(tmp_path):
    Store(tmp_path).save_run("measure/x", "k", RESULT)
    back = Store(tmp_path).load_run("measure/x", "k")
    assert back.numbers[0] == RESULT.numbers[0]
    assert np.isnan(back.numbers[1].value)
    np.testing.assert_array_equal(back.arrays["variance"].values, RESULT.arrays["variance"].values)
    assert back.arrays["variance"].axes == ("site", "dim")
    assert back.arrays["variance"].ticks == {"site": ["final"]}
    assert (back.method, list(back.sources), back.settings, back.bench) == (
        "measure/x",
        ["somebody 2023"],
        {"factor": 5.0},
        {"seed": 1},
    )


def test_the_files_are_those_of_the_design_and_strict_json(tmp_path):
    Store(tmp_path).save_run("measure/x", "k", RESULT)
    folder = tmp_path / "runs" / "measure-x-k"
    assert {path.name for path in folder.iterdir()} == {
        "settings.json",
        "provenance.json",
        "result.json",
        "arrays.safetensors",
    }
    written = json.loads((folder / "result.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert written["schema"] == 1
    assert written["numbers"][1]["value"] is None


def test_a_run_that_is_not_there_is_none(tmp_path):
    assert Store(tmp_path).load_run("measure/x", "k") is None
    assert Store(tmp_path).runs() == []
