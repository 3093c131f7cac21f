"""The forward pass that training and scoring share: from a batch to one row of logits per sentence.

Hugging Face's classifiers of decoders read the last token that is not the pad id (transformers 5.23,
`GenericForSequenceClassification.forward`), which goes wrong where a text ends with that token. Here the mask
decides.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from dimscope.models.load import Network
from dimscope.models.pooling import pool, pooled_token, position_ids


def classify(network: Network, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch classes"]:
    """Give the logits of a padded batch: `input_ids`, `attention_mask` and perhaps `token_type_ids`.

    The padding may stand on either side.
    """
    inputs = {name: values.to(network.device) for name, values in batch.items() if name in network.accepts}
    if not network.is_decoder:
        inputs = _padded_on_the_right(inputs)
    mask = inputs["attention_mask"]
    if "position_ids" in network.accepts:
        inputs["position_ids"] = position_ids(mask, network.position_offset)
    if network.is_decoder:
        hidden = network.model.base_model(**inputs, use_cache=False).last_hidden_state
        return network.head(pool(hidden, mask, "last"))
    return network.model(**inputs).logits


def _padded_on_the_right(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn every row until its first real token stands at position 0: encoders' classifiers read there."""
    mask = inputs["attention_mask"]
    num_tokens = mask.shape[1]
    order = (pooled_token(mask, "first").unsqueeze(1) + torch.arange(num_tokens, device=mask.device)) % num_tokens
    return {name: values.gather(1, order) for name, values in inputs.items()}
