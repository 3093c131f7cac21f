"""How much of the way from one prompt's answer to the other's a patch goes, and which parts go furthest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from dimscope.core.errors import UserError
from dimscope.core.result import Number
from dimscope.numerics.resampling import mean_interval

_LEAST = 1e-6


def shares(
    patched: Float[np.ndarray, "patches pairs"],
    unchanged: Float[np.ndarray, " pairs"],
    other: Float[np.ndarray, " pairs"],
) -> Float[np.ndarray, "patches pairs"]:
    """Give each pair's part in the share of the way from `unchanged` to `other` that every patch goes.

    The mean over pairs is 0 for a patch that does nothing and 1 for one that does all: it is the ratio of the means,
    which one pair whose two prompts hardly differ cannot upset.

    >>> shares(np.array([[1.0, 4.0]]), np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([[0., 1.]])

    Raises:
        UserError: the two give the same, so that there is no way to go.
    """
    whole = (other - unchanged).mean(dtype=np.float64)
    if abs(whole) < _LEAST:
        raise UserError(
            f"prompts and counterfactuals give the same: the mean difference of the metric is {whole:.2g}. "
            "Take prompts that the model tells from their counterfactuals"
        )
    return (patched - unchanged) / whole


def numbers_of(
    shares: Float[np.ndarray, "patches pairs"], places: Sequence[Mapping[str, str | int]], num_shown: int
) -> list[Number]:
    """Give the share of those patches that go furthest, either way, and as the control the median of all."""
    means = shares.mean(axis=1)
    furthest = np.argsort(-np.abs(means), kind="stable")[:num_shown]
    shown = [
        Number(
            name="patched_share",
            value=float(means[patch]),
            interval=mean_interval(shares[patch]),
            where={**places[patch], "rank": rank + 1},
        )
        for rank, patch in enumerate(furthest)
    ]
    control = {key: value for key, value in places[0].items() if key in ("part", "path")}
    return [*shown, Number(name="median_absolute_share", value=float(np.median(np.abs(means))), where=control)]
