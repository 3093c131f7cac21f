import numpy as np
import pytest

from dimscope.core.result import Number, Result
from dimscope.training import trials as trials_module
from dimscope.training.settings import TrainingSettings
from dimscope.training.trial import Trial
from dimscope.training.trials import SpentError, Trials

RATES = (0.1, 0.2, 0.4)
BY_RATE = [Trial(training=TrainingSettings(learning_rate=rate), subspace=None) for rate in RATES]


class Bench:
    seed = 7


@pytest.fixture
def asked(monkeypatch):
    """What was trained; accuracies are 0.5 + rate, but at 0.4, and every training takes a minute."""
    asked = []

    def outcome(name, trial, bench, seed):
        rate = trial.training.learning_rate
        asked.append((rate, seed))
        numbers = [
            Number(name="accuracy", value=0 if rate == 0.4 else 0.5 + rate + seed / 1000),
            Number(name="is_diverged", value=rate == 0.4),
        ]
        return Result(numbers=numbers, provenance={"seconds": 60.0})

    monkeypatch.setattr(trials_module, "outcome", outcome)
    return asked


def test_all_rates_are_tried_with_the_first_seed_and_the_best_with_all(asked):
    done = []
    trials = Trials("name", Bench(), 3, done.append)
    scored = trials.scored(BY_RATE)
    assert asked == [(0.1, 7), (0.2, 7), (0.4, 7), (0.2, 8), (0.2, 9)]
    assert done == [1] * 5
    nan = np.nan
    np.testing.assert_allclose(scored.accuracies, [[0.607, nan, nan], [0.707, 0.708, 0.709], [0, nan, nan]])
    assert scored.score == pytest.approx(0.708)
    assert trials.count("is_diverged") == 1


@pytest.mark.parametrize("budget", [{"max_trainings": 4}, {"max_minutes": 3.5}])
def test_nothing_begins_when_the_budget_is_spent(budget, asked):
    trials = Trials("name", Bench(), 3, lambda steps: None, **budget)
    with pytest.raises(SpentError):
        trials.scored(BY_RATE)
    assert len(asked) == len(trials.results) == 4
