import numpy as np
import pytest
from scipy.stats import norm

from dimscope.core.errors import UserError
from dimscope.numerics.halves import halves_interval
from dimscope.numerics.local_dimension import two_nn
from dimscope.numerics.neighbors import Neighbors


def test_the_margin_of_a_mean_is_its_standard_error_times_1_96():
    heights = np.random.default_rng(0).normal(3, 2, size=400)
    value, low, high = halves_interval(
        lambda rows: heights[rows].mean(keepdims=True), 400, np.random.default_rng(1), num_splits=4000
    )
    assert value[0] == heights.mean()
    # Over all splits, a quarter of the squared difference is exactly s² / n.
    expected = norm.ppf(0.975) * heights.std(ddof=1) / np.sqrt(400)
    assert high[0] - value[0] == pytest.approx(expected, rel=0.05)
    assert value[0] - low[0] == pytest.approx(high[0] - value[0])


def test_the_interval_of_an_estimate_from_neighbors_is_as_wide_as_it_varies():
    rng = np.random.default_rng(2)
    values, margins = [], []
    for _ in range(60):
        neighbors = Neighbors.of(rng.uniform(size=(200, 3)), 30)

        def dimension(rows, neighbors=neighbors):
            return np.array([two_nn(neighbors.among(rows, 2))])

        value, _, high = halves_interval(dimension, 200, rng, num_splits=30)
        values.append(value[0])
        margins.append(high[0] - value[0])
    assert np.mean(margins) / 1.96 == pytest.approx(np.std(values, ddof=1), rel=0.3)


def test_too_few_rows_are_refused():
    with pytest.raises(UserError, match="at least four"):
        halves_interval(lambda rows: np.zeros(1), 3, np.random.default_rng(0))
