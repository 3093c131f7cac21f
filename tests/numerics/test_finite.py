from __future__ import annotations

import numpy as np
import pytest

from dimscope.core.errors import UserError
from dimscope.numerics.finite import require_finite


def test_names_the_first_bad_dimension():
    states = np.zeros((4, 5), dtype=np.float32)
    states[0, 4], states[3, 2] = np.nan, -np.inf
    with pytest.raises(UserError, match="states must be finite; dimension 2 "):
        require_finite(states, "states")


def test_lets_the_largest_float_pass():
    require_finite(np.full((3, 2), np.finfo(np.float32).max), "states")
