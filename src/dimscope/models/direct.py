"""The forward pass of BERT-like classifiers written out: the numbers of their modules, in less time.

What makes the difference: nothing is computed for padding; of the last block only the token that is read, beyond its
keys and values; queries, keys and values are one product; weights stand in the form that the processor multiplies
fastest; dropout costs an eighth. A test holds every family against its modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import embedding, layer_norm
from transformers import (
    BertForSequenceClassification,
    CamembertForSequenceClassification,
    ElectraForSequenceClassification,
    RobertaForSequenceClassification,
    XLMRobertaForSequenceClassification,
)

from dimscope.models.classify import classify
from dimscope.models.load import Network
from dimscope.models.maps import TrainedMaps
from dimscope.models.operations import attention, attention_of_one, drop
from dimscope.models.packed import PackedMaps
from dimscope.models.pooling import pooled_token, position_ids
from dimscope.models.sentences import Sentences
from dimscope.numerics.kernels.pairs import adds_pairs

_FAMILIES = (
    BertForSequenceClassification,
    CamembertForSequenceClassification,
    ElectraForSequenceClassification,
    RobertaForSequenceClassification,
    XLMRobertaForSequenceClassification,
)
_PLAIN = ("torch.nn.modules.", "transformers.models.", "transformers.activations")
"""Where the classes come from that the pass stands for. An adapter's, a quantized or a parametrized map is of another
place, and may show the weight of what it wraps as its own."""

Words = Callable[[Int[Tensor, " rows"]], Float[Tensor, "rows dims"]]
"""Gives the embeddings of words."""
_STEP = 40
"""Numbers of rows are multiples of it where few numbers are wanted; so is that of a whole batch's tokens."""


def has_direct_pass(network: Network) -> bool:
    """Tell whether the written-out pass stands for this network as it is now: nothing wrapped, no hook to be missed."""
    model = network.model
    if type(model) not in _FAMILIES or model.config.is_decoder or model.dtype != torch.float32:
        return False
    return not any(_is_hooked(part) or not type(part).__module__.startswith(_PLAIN) for part in model.modules())


def _is_hooked(part: nn.Module) -> bool:
    """Tell whether there is a hook to be missed.

    transformers leaves its own on a model that was once asked for hidden states or patterns: they record, when a pass
    is asked for them again, and change nothing.
    """
    hooks = (*part._forward_hooks.values(), *part._forward_pre_hooks.values())
    return not all(str(getattr(hook, "__module__", "")).startswith("transformers.") for hook in hooks)


def classifying(network: Network) -> Callable[[Mapping[str, Tensor]], Float[Tensor, "batch classes"]]:
    """Give the fastest way to the logits of padded batches, in float32, while the network does not change."""
    if has_direct_pass(network):
        return DirectPass(network, torch.float32, packed=True).logits
    return partial(classify, network)


class DirectPass:
    """The pass of one network with products in `dtype`.

    `packed`: the weights are laid out once, for a network that does not change meanwhile, and there are no gradients.
    `words`: what gives the words' embeddings in the place of the network's own table.
    """

    def __init__(
        self, network: Network, dtype: torch.dtype, *, packed: bool = False, words: Words | None = None
    ) -> None:
        self._network, self._dtype, self._words = network, dtype, words
        # The families share their parts' names, and no class.
        self._base: Any = network.model.base_model
        self._maps = PackedMaps(dtype) if packed else TrainedMaps()

    def logits(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch classes"]:
        """Give the logits of a padded batch, as `classify` does."""
        sentences = self.sentences(batch["attention_mask"])
        first = sentences.row_of(pooled_token(batch["attention_mask"], "first"))
        *_, last = self.hidden(batch, sentences, self._network.num_layers, first)
        model: Any = self._network.model
        if isinstance(model, BertForSequenceClassification):
            return model.classifier(model.dropout(self._base.pooler(last.float().unsqueeze(1))))
        return model.classifier(last.float().unsqueeze(1))

    def sentences(self, mask: Int[Tensor, "batch tokens"]) -> Sentences:
        """Give the rows of a batch; where oneDNN compiles products for every number of rows, there are few numbers."""
        any_number = mask.device.type != "cpu" or (self._dtype == torch.bfloat16 and adds_pairs())
        return Sentences(mask, 1 if any_number else _STEP)

    def hidden(
        self,
        batch: Mapping[str, Tensor],
        sentences: Sentences,
        num_blocks: int,
        only: Int[Tensor, " batch"] | None = None,
    ) -> Iterator[Float[Tensor, "rows dims"]]:
        """Give the hidden states of `sentences`, the batch's, before the first block and after each of `num_blocks`.

        After the last block, if `only` names one row of every sentence, that row's alone [batch, dims].
        """
        values = self._embedded(batch, sentences)
        yield values
        blocks = self._base.encoder.layer[:num_blocks]
        for number, block in enumerate(blocks, start=1):
            values = self._block(block, values, sentences, only if number == num_blocks else None)
            yield values

    def _embedded(self, batch: Mapping[str, Tensor], sentences: Sentences) -> Float[Tensor, "rows dims"]:
        tables, ids = self._base.embeddings, batch["input_ids"]
        types = batch.get("token_type_ids", torch.zeros_like(ids))
        positions = position_ids(batch["attention_mask"], self._network.position_offset)
        values = (
            (self._words or partial(_rows, tables.word_embeddings))(sentences.rows(ids))
            + _rows(tables.token_type_embeddings, sentences.rows(types))
            + _rows(tables.position_embeddings, sentences.rows(positions))
        )
        values = drop(_normed(tables.LayerNorm, values), self._dropped(tables.dropout)).to(self._dtype)
        return (
            self._maps(values, self._base.embeddings_project) if hasattr(self._base, "embeddings_project") else values
        )

    def _block(
        self,
        block: Any,
        values: Float[Tensor, "rows dims"],
        sentences: Sentences,
        only: Int[Tensor, " batch"] | None,
    ) -> Float[Tensor, "read dims"]:
        own, wide = block.attention, block.intermediate
        residual = values if only is None else values.index_select(0, only)
        attended = self._maps(self._attended(own.self, values, residual, sentences), own.output.dense)
        middle = self._summed(own.output, attended, residual)
        written = self._maps.feed_forward(middle, wide.dense, wide.intermediate_act_fn, block.output.dense)
        return self._summed(block.output, written, middle)

    def _attended(self, own: Any, values: Tensor, read: Tensor, sentences: Sentences) -> Float[Tensor, "read dims"]:
        dropped = self._dropped(own.dropout)
        if read is values:
            joint = self._heads(own, values, own.query, own.key, own.value)
            return attention(joint, sentences, dropped).flatten(1)
        query = self._heads(own, read, own.query)[:, 0]
        return attention_of_one(query, values, own.key, own.value, sentences, dropped).flatten(1)

    def _heads(self, own: Any, values: Tensor, *maps: nn.Linear) -> Float[Tensor, "rows maps heads dims"]:
        return self._maps(values, *maps).unflatten(1, (len(maps), -1, own.attention_head_size))

    def _summed(self, part: Any, written: Tensor, residual: Tensor) -> Tensor:
        return _normed(part.LayerNorm, drop(written, self._dropped(part.dropout)) + residual)

    def _dropped(self, module: nn.Dropout) -> float:
        return module.p if self._network.model.training else 0.0


def _rows(table: nn.Embedding, ids: Int[Tensor, " rows"]) -> Tensor:
    return embedding(ids, table.weight, table.padding_idx)


def _normed(norm: nn.LayerNorm, values: Tensor) -> Tensor:
    return layer_norm(values, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
