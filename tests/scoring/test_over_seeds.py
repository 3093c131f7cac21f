import numpy as np
import pytest
from scipy import stats

from dimscope.core.result import Number
from dimscope.scoring.over_seeds import INDEX, over_seeds


def numbers(values, **where):
    return [
        Number(name="accuracy", value=value, interval=(0, 1), where={"seed": seed, **where})
        for seed, value in enumerate(values)
    ]


def test_mean_interval_and_deviation_over_seeds():
    values = [0.8, 0.82, 0.79, 0.85]
    mean, spread = over_seeds(numbers(values, rule="exact"))
    assert mean.where == {"rule": "exact", "seed": "all", "statistic": "mean"}
    assert mean.value == pytest.approx(np.mean(values))
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert mean.interval == pytest.approx(expected)
    assert spread.value == pytest.approx(np.std(values, ddof=1))
    assert spread.where["statistic"] == "standard deviation"


def test_places_are_not_mixed():
    means = [
        number
        for number in over_seeds([*numbers([0.1, 0.3], rule="a"), *numbers([0.5, 0.7], rule="b")])
        if number.where["statistic"] == "mean"
    ]
    assert {number.where["rule"]: round(number.value, 6) for number in means} == {"a": 0.2, "b": 0.6}


def test_one_seed_keeps_its_own_interval():
    (only,) = over_seeds(numbers([0.5]))
    assert only.interval == (0, 1)


def test_the_index_of_a_dimension_has_no_mean():
    assert over_seeds([Number(name="principal_dim", value=3, unit=INDEX, where={"seed": 1})]) == []
