"""What recipes share: places, and what cannot be measured."""

import pytest

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.result import Number, Result
from dimscope.study import attempted, placed, require_distinct


def test_a_place_is_set_over_what_the_numbers_said():
    found = placed(
        Result(numbers=[Number(name="a", value=1, where={"model": "folder", "seed": 1})]), model="bert", step=0
    )
    assert dict(found.numbers[0].where) == {"model": "bert", "seed": 1, "step": 0}


def test_only_what_a_user_can_put_right_is_a_note():
    def ours():
        raise KeyError("a defect")

    def users():
        raise UserError("take another model")

    assert attempted("bert on rte, biases", users, part="biases").result.notes == ["not measured: take another model"]
    with pytest.raises(KeyError):
        attempted("bert on rte", ours)


def test_the_same_bench_twice_is_refused(tiny_folder, reviews, tmp_path):
    benches = [Bench(str(tiny_folder("bert")), reviews, seed=seed, out=tmp_path) for seed in (1, 2, 1)]
    require_distinct(benches[:2])
    with pytest.raises(UserError, match="would be there twice"):
        require_distinct(benches)
