from __future__ import annotations

import numpy as np
import pytest

from dimscope.numerics.sorting import sorted_with_labels


@pytest.mark.parametrize("floats", [np.float16, np.float32, np.float64])
def test_values_ascend_and_keep_their_labels(floats):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4, 500)).round(1).astype(floats)
    values[0] *= -0.0
    values[1, :2] = np.finfo(floats).max, np.finfo(floats).smallest_subnormal
    labels = rng.integers(0, 1000, 500)
    ascending, sorted_labels = sorted_with_labels(values, labels)
    for dim in range(4):
        np.testing.assert_array_equal(ascending[dim], np.sort(values[dim].astype(np.float64)))
        pairs = sorted(zip(values[dim].tolist(), labels.tolist(), strict=True))
        assert sorted(zip(ascending[dim].tolist(), sorted_labels[dim].tolist(), strict=True)) == pairs
