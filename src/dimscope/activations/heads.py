"""The classifier's answer to given final states, without the forward pass that would lead to them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from dimscope.activations.hooks import hooked
from dimscope.models.classify import classify
from dimscope.models.load import Network


@torch.inference_mode()
def classify_states(
    network: Network, states: Float[np.ndarray, "sentences dims"]
) -> Float[np.ndarray, "sentences classes"]:
    """Give the logits that the network's head gives for pooled states at the site 'final'.

    An encoder's head (pooler, dense layers, …) differs from family to family, so it is reached through the model
    itself: one sentence of one token goes in, and the states take the place of its final state.
    """
    given = torch.as_tensor(states, dtype=network.model.dtype, device=network.device)
    if network.is_decoder:
        return network.head(given).float().cpu().numpy()
    any_real_token = 1 if network.pad_id == 0 else 0
    ids = torch.full((1, 1), any_real_token, device=network.device)
    with hooked(network.model, {"final": lambda values, mask: given[:, None]}):
        logits = classify(network, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    return logits.float().cpu().numpy()
