"""A clear error where a nan or an infinity would silently become a wrong number."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dimscope.core.errors import UserError


def require_finite(values: Float[np.ndarray, "*rows dims"], what: str) -> None:
    """Refuse values that are not all finite, naming the first dimension that has one.

    >>> require_finite(np.array([1.0, np.nan]), "variance")
    Traceback (most recent call last):
    dimscope.core.errors.UserError: variance must be finite; dimension 1 has nan or infinity ...
    """
    if not np.isfinite(values).all():
        dim = int(np.nonzero(~np.isfinite(values))[-1].min())
        raise UserError(
            f"{what} must be finite; dimension {dim} has nan or infinity"
            " (did training diverge, or half precision overflow?)"
        )
