"""What running a method adds to the method: here the choice among several."""

import pytest

from dimscope.bench import Bench
from dimscope.core.method import Method
from dimscope.core.result import Number, Result
from dimscope.running import run_best


class Scoring(Method):
    """Reaches an accuracy that its rate and the bench's seed make."""

    rate: float

    @classmethod
    def name(cls):
        return "measure/scoring"

    def run(self, bench):
        return Result(numbers=[Number(name="accuracy", value=self.rate if bench.seed == 1 else 1 - self.rate)])


@pytest.fixture
def benches(tiny_folder, reviews, tmp_path):
    return [Bench(str(tiny_folder("bert")), reviews, seed=seed, out=tmp_path) for seed in (1, 2, 3)]


def test_the_best_under_the_first_seed_is_run_under_the_others(benches):
    # Under the others the first would be better: that must not be looked at.
    found = run_best([Scoring(rate=0.2), Scoring(rate=0.7), Scoring(rate=0.6)], benches)
    assert [result.settings["rate"] for result in found] == [0.7] * 3
    assert [result.value("accuracy") for result in found] == pytest.approx([0.7, 0.3, 0.3])
    assert len(benches[0].store.runs()) == 3 + 2
