from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from dimscope.core.errors import UnknownName, UserError
from dimscope.numerics.one_dimension import OneDimensionClassifier
from dimscope.numerics.thresholds import exact_thresholds, grid_thresholds


@parametrize_with_checks([OneDimensionClassifier(), OneDimensionClassifier(dim="best")])
def test_keeps_scikit_learns_contract(estimator, check):
    check(estimator)


@pytest.fixture
def planted() -> tuple[np.ndarray, np.ndarray]:
    """The label is the sign of dimension 3; dimension 1 has most variance and says nothing."""
    states = np.random.default_rng(0).standard_normal((600, 6)).astype(np.float32)
    states[:, 1] *= 9
    return states, np.where(states[:, 3] > 0, "plus", "minus")


def test_chooses_the_dimension_that_was_asked_for(planted):
    states, labels = planted
    assert OneDimensionClassifier().fit(states, labels).dim_ == 1
    best = OneDimensionClassifier(dim="best").fit(states, labels)
    assert (best.dim_, best.score(states, labels)) == (3, 1.0)
    assert OneDimensionClassifier(dim=5).fit(states, labels).dim_ == 5


@pytest.mark.parametrize("rule", ["exact", "grid"])
@pytest.mark.parametrize("dim", range(6))
def test_is_the_rule_of_its_dimension(planted, rule, dim):
    states, labels = planted
    numbers = (labels == "plus").astype(np.int64)
    rules = exact_thresholds(states, numbers, 2) if rule == "exact" else grid_thresholds(states, numbers)
    fitted = OneDimensionClassifier(dim=dim, rule=rule).fit(states, labels)
    assert fitted.thresholds_.tolist() == rules.thresholds[dim].tolist()
    expected = np.array(["minus", "plus"])[rules.predict(states)[:, dim]]
    np.testing.assert_array_equal(fitted.predict(states), expected)


def test_learns_several_classes_in_any_order():
    x = np.linspace(0, 1, 90, dtype=np.float32)[:, None]
    labels = np.repeat(["c", "a", "b"], 30)
    fitted = OneDimensionClassifier().fit(x, labels)
    assert fitted.interval_classes_.tolist() == ["c", "a", "b"]
    assert fitted.score(x, labels) == 1


def test_a_wrong_setting_is_an_error(planted):
    with pytest.raises(UserError, match="dim 6 does not exist"):
        OneDimensionClassifier(dim=6).fit(*planted)
    with pytest.raises(UnknownName, match="Did you mean 'max_variance'"):
        OneDimensionClassifier(dim="max_varianse").fit(*planted)
    with pytest.raises(UnknownName, match="unknown rule 'grit'"):
        OneDimensionClassifier(rule="grit").fit(*planted)
    with pytest.raises(UserError, match="two classes"):
        OneDimensionClassifier(rule="grid").fit(planted[0], np.arange(600) % 3)
