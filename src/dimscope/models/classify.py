"""The forward pass that training and scoring share: from a batch to one row of logits per sentence.

Hugging Face's classifiers of decoders read the last token that is not the pad id (transformers 5.23,
`GenericForSequenceClassification.forward`), which goes wrong where a text ends with that token. Here the mask
decides.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from dimscope.models.load import Network
from dimscope.models.pooling import pool, position_ids


def classify(network: Network, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch classes"]:
    """Give the logits of a padded batch: `input_ids`, `attention_mask` and perhaps `token_type_ids`.

    Encoders read position 0, so their batches are padded on the right; decoders' on either side.

    Raises:
        ValueError: an encoder's batch is padded on the left.
    """
    inputs = {name: values.to(network.device) for name, values in batch.items() if name in network.accepts}
    mask = inputs["attention_mask"]
    if "position_ids" in network.accepts:
        inputs["position_ids"] = position_ids(mask, network.position_offset)
    if network.is_decoder:
        hidden = network.model.base_model(**inputs, use_cache=False).last_hidden_state
        return network.head(pool(hidden, mask, "last"))
    if not mask[:, 0].all():
        raise ValueError("an encoder's classifier reads position 0: pad its batches on the right")
    return network.model(**inputs).logits
