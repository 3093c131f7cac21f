"""What stands at sites of a model for named tokens of prompts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from dimscope.activations.capture import chosen_tokens
from dimscope.core.errors import UnknownName
from dimscope.data.batching import prompt_batches
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.load import Network


def prompt_states(
    network: Network, pairs: PromptPairs, sites: Sequence[str], tokens: Sequence[str] = ("end",)
) -> dict[str, Float32[np.ndarray, "pairs tokens dims"]]:
    """Give what every prompt (not its counterfactual) has at the sites for its named tokens.

    Raises:
        UnknownName: the prompts have no token of that name, or the model no such site.
    """
    for token in tokens:
        if token not in pairs.places:
            raise UnknownName("token", token, pairs.places)
    chosen = np.stack([pairs.places[token] for token in tokens], axis=1)
    batches = ((indices, batch) for indices, _, batch in prompt_batches(pairs))
    found: dict[str, np.ndarray] = {}
    for indices, by_site in chosen_tokens(network, batches, sites, chosen):
        for site, values in by_site.items():
            found.setdefault(site, np.empty((len(pairs), *values.shape[1:]), np.float32))[indices] = values
    return found
