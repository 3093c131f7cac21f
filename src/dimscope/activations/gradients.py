"""What an output's metric gains where a value at a site grows: gradients at sites, from one pass and one way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from dimscope.activations.hooks import AtSite, hooked
from dimscope.models.classify import classify
from dimscope.models.load import Network


@torch.inference_mode(mode=False)
def gradients(
    network: Network,
    batch: Mapping[str, Tensor],
    sites: Sequence[str],
    value: Callable[[Float[Tensor, "batch outputs"]], Float[Tensor, " batch"]],
) -> dict[str, Float[Tensor, "batch tokens dims"]]:
    """Give the derivative of each sentence's `value`, a function of its logits, by its own values at every site.

    The gradients of the weights are not computed, and what they hold is left alone.

    Raises:
        UnknownName: the model has no such site.
    """
    found: dict[str, Tensor] = {}

    def keep(site: str) -> AtSite:
        def look(values: Tensor, mask: Tensor) -> None:
            found[site] = values

        return look

    with torch.enable_grad(), hooked(network.model, {site: keep(site) for site in sites}):
        # No sentence sees another, so the sum's derivative by a sentence's values is that of its own.
        total = value(classify(network, batch)).sum()
    return dict(zip(sites, torch.autograd.grad(total, [found[site] for site in sites]), strict=True))
