from __future__ import annotations

from dataclasses import replace

import pytest

from dimscope.core.errors import UserError
from dimscope.core.result import Number, Result
from dimscope.report.joined import joined
from dimscope.report.outlier_dimensions import models_and_tasks


def test_all_rows_of_all_studies_are_there(made_up):
    first, second = made_up(models=("bert",)), made_up(models=("gpt2",), tasks=("rte", "sst2"), seeds=(3,))
    whole = joined({"a": first, "b": second})
    assert models_and_tasks(whole) == [("bert", "rte"), ("gpt2", "rte"), ("gpt2", "sst2")]
    assert list(whole.numbers) == [*first.numbers, *second.numbers]
    assert whole.arrays == {**first.arrays, **second.arrays}
    assert [whole.settings[key] for key in ("models", "tasks", "seeds")] == [
        ["bert", "gpt2"],
        ["rte", "sst2"],
        [1, 2, 3],
    ]
    assert whole.provenance == {"a": {"seconds": 1.5}, "b": {"seconds": 1.5}}
    assert (whole.notes, whole.sources, whole.method) == (["a note"], ["Somebody"], "recipe/outlier_dimensions")


def of_settings(task: str, settings: dict) -> Result:
    return Result(numbers=[Number(name="last_loss", value=1, where={"model": "m", "task": task})], settings=settings)


@pytest.mark.parametrize(
    ("first", "second", "shared", "notes"),
    [
        ({"limit": 9}, {"limit": 9}, {"limit": 9}, []),
        ({"limit": 9}, {"limit": None}, {}, ["The studies differ in limit: 9 in a, not set in b."]),
        (
            {"finetune": {"epochs": 2, "schedule": "constant"}},
            {"finetune": {"epochs": 3, "schedule": "constant"}},
            {"finetune": {"schedule": "constant"}},
            ["The studies differ in finetune.epochs: 2 in a, 3 in b."],
        ),
        ({}, {"new": 1}, {}, ["The studies differ in new: not set in a, 1 in b."]),
        ({"models": ["m"]}, {"models": ["n"]}, {"models": ["m", "n"]}, []),
    ],
)
def test_settings_that_differ_are_told(first, second, shared, notes):
    whole = joined({"a": of_settings("rte", first), "b": of_settings("sst2", second)})
    assert whole.settings == shared
    assert whole.notes == notes


def test_numbers_over_all_tasks_are_left_to_be_pooled_again(made_up):
    over_all = Number(name="num_sets", value=2, where={"model": "bert", "task": "all"})
    first, second = (made_up(tasks=(task,)) for task in ("rte", "sst2"))
    parts = {name: replace(each, numbers=[*each.numbers, over_all]) for name, each in (("a", first), ("b", second))}
    assert list(joined(parts).numbers) == [*first.numbers, *second.numbers]


def test_no_model_and_task_may_be_told_differently(made_up):
    with pytest.raises(UserError, match="a and b tell different numbers of bert on rte"):
        joined({"a": made_up(), "b": made_up(tasks=("sst2", "rte"), seeds=(3,))})


def test_what_two_studies_found_alike_stands_once(made_up):
    unknown = Number(name="d90", value=float("nan"), where={"model": "small", "task": "rte"})
    first, second = made_up(), made_up(tasks=("sst2", "rte"))
    told = {"a": (first, ["bert on rte"]), "b": (second, ["bert on rte", "bert on sst2"])}
    whole = joined(
        {
            name: replace(each, numbers=[unknown, *each.numbers], bench={"benches": benches})
            for name, (each, benches) in told.items()
        }
    )
    assert list(whole.numbers) == [unknown, *first.numbers, *(n for n in second.numbers if n.where["task"] == "sst2")]
    assert whole.bench["benches"] == ["bert on rte", "bert on sst2"]
