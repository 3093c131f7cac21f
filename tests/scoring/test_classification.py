import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from dimscope.scoring.classification import accuracy, majority, scores


def test_scores_are_scikit_learns():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(3, size=(2, 500))
    by_name = {number.name: number for number in scores(predicted, labels, majority_class=2)}
    assert by_name["accuracy"].value == pytest.approx(accuracy_score(labels, predicted))
    assert by_name["macro_f1_score"].value == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert by_name["matthews_correlation_score"].value == pytest.approx(matthews_corrcoef(labels, predicted))
    assert by_name["majority_accuracy"].value == pytest.approx((labels == 2).mean())


def test_the_interval_is_wilsons():
    number = accuracy(np.array([True] * 8 + [False] * 2), rule="exact")
    # Closed form with z = 1.959964, p = 0.8, n = 10.
    z, p, n = 1.959963984540054, 0.8, 10
    center, half = (
        (p + z * z / (2 * n)) / (1 + z * z / n),
        z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)),
    )
    assert number.interval == pytest.approx((center - half, center + half))
    assert number.where == {"rule": "exact"}


def test_the_majority_is_the_lowest_on_a_tie():
    assert majority(np.array([2, 2, 1, 1, 0])) == 1
