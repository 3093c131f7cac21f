import math

import numpy as np
import pytest

from dimscope.bench import Bench
from dimscope.core import progress
from dimscope.core.errors import UserError
from dimscope.core.result import Number, Result
from dimscope.data.task import Split, Task
from dimscope.methods.measure.intrinsic_dimension import IntrinsicDimension
from dimscope.numerics.bracket import Bracket, log_grid, next_to_try
from dimscope.running import run
from dimscope.training import trial as trial_module
from dimscope.training import trials as trials_module
from dimscope.training.subspace import SubspaceSettings

NAME = "measure/intrinsic_dimension"
QUICK = {
    "epochs": 8,
    "full_epochs": 5,
    "batch_size": 8,
    "precision": "float32",
    "full_learning_rates": (3e-3,),
    "learning_rates": (0.05,),
    "smallest": 4,
    "largest": 400,
    "points_per_decade": 1,
    "bracket_ratio": 10,
    "num_seeds": 1,
}


@pytest.fixture(scope="module")
def easy() -> Task:
    """Sentences whose third word tells the class."""

    def split(num_sentences, rng):
        labels = np.arange(num_sentences) % 2
        words = rng.choice(["the", "film", "is", "a", "story", "and"], size=(num_sentences, 6)).astype(object)
        words[:, 2] = np.where(labels, "good", "sad")
        return Split(tuple(" ".join(row) for row in words), labels)

    rng = np.random.default_rng(0)
    return Task("easy", ("bad", "good"), split(120, rng), split(40, rng))


@pytest.fixture
def bench(tiny_folder, reviews, tmp_path):
    return Bench(str(tiny_folder("bert")), reviews, out=tmp_path)


@pytest.fixture
def planted(monkeypatch):
    """Trainings that are not done: give the accuracy of d numbers, or of all (none) by a rule."""
    asked = []

    def plant(rule):
        def outcome(name, trial, bench, seed):
            d = trial.subspace.num_trained if trial.subspace else None
            asked.append((d, trial.training.learning_rate, seed, trial.hopeless_below))
            names = {"accuracy": rule(d), "is_stopped": 0, "is_diverged": 0}
            numbers = [Number(name=name, value=value) for name, value in names.items()]
            return Result(numbers=numbers, provenance={"seconds": 60.0})

        monkeypatch.setattr(trials_module, "outcome", outcome)
        return asked

    return plant


def rises_at(k):
    return lambda d: 0.8 if d is None or d >= k else 0.6


@pytest.mark.parametrize("k", [11, 77, 300, 1234, 9999])
def test_a_planted_dimension_is_bracketed(k, planted, bench):
    asked = planted(rises_at(k))
    result = IntrinsicDimension(precision="float32").run(bench)
    failing, passing = result.value("largest_failing"), result.value("smallest_passing")
    assert failing < k <= passing <= 1.5 * failing
    assert result.value("target_accuracy") == pytest.approx(0.9 * 0.8)
    assert result.value("num_trainings") == len(asked) <= 2 + 1 + 5 * 4
    assert result.value("accuracy", training="full") == 0.8
    assert result.value("accuracy", num_trained=int(failing)) == 0.6


def test_a_planted_dimension_outside_the_grid_leaves_an_end_open(planted, bench):
    planted(rises_at(10**6))
    result = IntrinsicDimension(precision="float32").run(bench)
    assert result.value("largest_failing") == 10_000
    assert math.isnan(result.value("smallest_passing"))
    assert any("No d up to 10,000 passed" in note for note in result.notes)
    planted(rises_at(1))
    result = IntrinsicDimension(precision="float32").run(bench)
    assert math.isnan(result.value("largest_failing"))
    assert result.value("smallest_passing") == 10


def test_a_curve_that_falls_again_is_told(planted, bench):
    planted(lambda d: 0.8 if d is None or 30 <= d <= 50 or d >= 2000 else 0.6)
    result = IntrinsicDimension(precision="float32", search="grid").run(bench)
    assert result.value("largest_failing") < 2000 <= result.value("smallest_passing")
    assert result.value("num_passing_below") == 1


def test_a_target_that_the_majority_reaches_is_told(planted, bench):
    asked = planted(lambda d: 0.5)
    result = IntrinsicDimension(precision="float32").run(bench)
    assert result.value("majority_accuracy") == 0.5
    assert result.value("target_above_majority") == pytest.approx(-0.05)
    assert any("tells nothing" in note for note in result.notes)
    # What is given up must fail, and below the majority one may pass.
    assert {hopeless_below for d, _, _, hopeless_below in asked if d} == {0.45}


def test_learning_rates_fall_with_the_square_root_of_d_and_hope_lies_between_majority_and_target(planted, bench):
    asked = planted(rises_at(5000))
    result = IntrinsicDimension(precision="float32", learning_rates=(0.1,)).run(bench)
    assert {seed for _, _, seed, _ in asked} == {1, 2}
    for d, rate, _, hopeless_below in asked:
        assert hopeless_below is None if d is None else hopeless_below == pytest.approx(0.5 + 0.25 * (0.72 - 0.5))
        assert d is None or rate == pytest.approx(0.1 * math.sqrt(1000 / d))
    assert result.value("learning_rate", num_trained=10_000) == pytest.approx(0.1 / math.sqrt(10))


@pytest.mark.parametrize("budget", [{"max_trainings": 9}, {"max_minutes": 8.5}])
def test_a_spent_budget_gives_the_bracket_so_far(budget, planted, bench):
    asked = planted(rises_at(300))
    result = IntrinsicDimension(precision="float32", **budget).run(bench)
    assert len(asked) == 9
    assert result.arrays["accuracy"].values.shape == (1, 3, 2)
    assert math.isnan(result.value("largest_failing"))
    assert result.value("smallest_passing") == 316
    assert any("budget was spent" in note for note in result.notes)


def test_a_budget_that_does_not_reach_the_full_score_is_refused(planted, bench):
    planted(rises_at(300))
    with pytest.raises(UserError, match="spent by 2 trainings of the full model"):
        IntrinsicDimension(precision="float32", max_trainings=2).run(bench)


def test_ten_constraints_take_ten_numbers(ten_constraints):
    """Li et al. 2018, section 2: d is 10 exactly; how well it does is exp(-loss), 1 at best."""
    passes = {}
    while (d := next_to_try(passes, log_grid(5, 20, 4), ratio=1.05)) is not None:
        passes[d] = ten_constraints(SubspaceSettings(num_trained=d, projection="dense"), 800) >= 0.9
    assert Bracket.of(passes) == Bracket(9, 10)


def test_a_search_that_was_killed_goes_on_and_trains_nothing_twice(tiny_folder, easy, tmp_path, monkeypatch):
    whole_bench, bench = (Bench(str(tiny_folder("bert")), easy, out=tmp_path / name) for name in ("whole", "killed"))
    count, train = [0], trial_module.train

    def killed_at(last):
        def counted(*args, **named):
            count[0] += 1
            if count[0] == last:
                raise KeyboardInterrupt
            return train(*args, **named)

        return counted

    whole = run(NAME, whole_bench, **QUICK)
    monkeypatch.setattr(trial_module, "train", killed_at(3))
    with pytest.raises(KeyboardInterrupt):
        run(NAME, bench, **QUICK)
    count[0] = 0
    monkeypatch.setattr(trial_module, "train", killed_at(None))
    again = run(NAME, bench, **QUICK)
    assert count[0] == whole.value("num_trainings") - 2
    assert [(each.name, repr(each.value)) for each in again.numbers] == [
        (each.name, repr(each.value)) for each in whole.numbers
    ]
    assert again.value("smallest_passing") in (40, 400)
    assert bench.store.checkpoints() == []


def test_what_it_costs_is_told_beforehand(planted, bench):
    said = []

    class Heard:
        def begin(self, what, total):
            return lambda steps: said.append((what, total))

        def end(self, what):
            pass

        def say(self, message):
            said.append(message)

    planted(rises_at(300))
    with progress.listening(Heard()):
        IntrinsicDimension(precision="float32").run(bench)
    messages = [each for each in said if isinstance(each, str)]
    assert messages[0].startswith("Ahead: 23 runs on 64 sentences")
    assert "d = 316: 0.800, passes" in messages
    assert sum(each == ("trainings", 23) for each in said) > 10


def test_what_cannot_be_tried_is_refused_before_anything_is_trained(bench):
    with pytest.raises(UserError, match="smallest d of at most the largest, 5; got 10"):
        run(NAME, bench, largest=5)
    with pytest.raises(UserError, match="modules move"):
        run(NAME, bench, structure_aware=True)
    with pytest.raises(UserError, match="cannot be moved by 10,000,000 trained numbers"):
        run(NAME, bench, largest=10**7)
    assert bench.store.runs() == []
