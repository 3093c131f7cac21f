"""Many changed copies of a batch in one pass, computed only from the changed block and the first changed token on.

A patch at block L leaves all before block L as it was, and in a decoder all tokens before the first one that differs.
Both are computed once and kept: the inputs of every block, and the keys and values of the tokens before. Each pass then
runs blocks L, L + 1, … alone, for as many copies of the batch as there are patches, and gives only those logits that
are read. The model itself is not touched: what runs is a copy of its modules, with the weights of its blocks laid out
for the processor.

An edit (`dimscope.activations.edits`) around it that does the same to every token of every sentence holds in all
passes. One of single tokens or sentences holds in a pass that is of the whole batch once, and is refused in others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from dimscope.activations.hooks import AtSite, hooked
from dimscope.activations.places import in_parts
from dimscope.core.errors import UserError
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.blocks import blocks
from dimscope.models.classify import classify
from dimscope.models.load import Network
from dimscope.models.packed import packed_bytes, with_packed_maps
from dimscope.models.pooling import pooled_token, position_ids

Values = Float[Tensor, "batch tokens dims"]

TOKENS_PER_PASS = 4096


class Continuation:
    """A batch of which everything was computed once, so that passes can go on from any block.

    Args:
        network: a language model or a classifier.
        batch: `input_ids` and `attention_mask`, padded on the right.
        start: tokens before this one are the same in all copies; a decoder does not compute them again.
        sites: where values are kept, beside the inputs of the blocks.

    Attributes:
        kept: the values at every site [batch, tokens from `start` on, dims].

    Raises:
        UserError: the batch is not padded on the right.
        UnknownName: the model has no such site.
    """

    @torch.inference_mode()
    def __init__(
        self, network: Network, batch: Mapping[str, Tensor], start: int = 0, sites: tuple[str, ...] = ()
    ) -> None:
        self.network = replace(network, model=with_packed_maps(network.model))
        self._batch = {name: values.to(network.device) for name, values in batch.items()}
        if int(pooled_token(self._batch["attention_mask"], "first").max()):
            raise UserError("wanted a batch that is padded on the right, came one with padding on the left: turn it")
        self.ends: Int[Tensor, " batch"] = pooled_token(self._batch["attention_mask"], "last")
        self.start = min(start, int(self.ends.min())) if self._may_start_late() else 0
        self._num_outputs = 0
        self._before = self._read_before()
        self.kept: dict[str, Values] = {}
        inputs = tuple(f"layers.{layer}.in" for layer in range(network.num_layers))
        keeping: dict[str, AtSite] = {site: self._keep(site) for site in dict.fromkeys((*inputs, *sites))}
        self.unchanged: Float[Tensor, "batch outputs"] = self.outputs(0, keeping)[0]

    @property
    def num_sentences(self) -> int:
        """The number of sentences in one copy of the batch."""
        return len(self.ends)

    @property
    def num_tokens(self) -> int:
        """The number of tokens of a sentence that every pass computes."""
        return self._batch["input_ids"].shape[1] - self.start

    @torch.inference_mode()
    def outputs(
        self,
        layer: int,
        changes: Mapping[str, AtSite],
        copies: int = 1,
        columns: Int[Tensor, "batch chosen"] | None = None,
    ) -> Float[Tensor, "copies batch outputs"]:
        """Run blocks `layer`, `layer` + 1, … on copies of the batch and give the logits of each sentence in each copy.

        `changes` are called at their sites with the values of all copies, one copy after the other [copies × batch,
        tokens from `start` on, dims]. `columns` are the only outputs of each sentence that are computed.
        """
        if not self.network.is_decoder:
            logits = self._classified(layer, changes, copies)
            return logits if columns is None else logits.gather(2, columns.expand(copies, -1, -1))
        hidden = self.hidden(layer, changes, copies).unflatten(0, (copies, -1))
        rows = torch.arange(self.num_sentences, device=hidden.device)
        return self.read(hidden[:, rows, self.ends - self.start], columns)

    @torch.inference_mode()
    def read(
        self, states: Float[Tensor, "copies batch dims"], columns: Int[Tensor, "batch chosen"] | None = None
    ) -> Float[Tensor, "copies batch outputs"]:
        """Give the decoder's logits for the states of the tokens that are read."""
        head = self.network.head
        if columns is None:
            return head(states)
        logits = torch.einsum("cbd,bod->cbo", states, head.weight[columns])
        return logits if head.bias is None else logits + head.bias[columns]

    @torch.inference_mode()
    def hidden(
        self,
        layer: int,
        changes: Mapping[str, AtSite],
        copies: int = 1,
        tokens: Int[Tensor, " batch"] | None = None,
        last: int | None = None,
    ) -> Values:
        """Run blocks `layer` to `last` on copies of the batch and give what comes out of the base model.

        `tokens` names the one token of each sentence that is computed; it then sees no other, so `changes` must give
        what its attention heads gave.
        """
        ids, positions = self._batch["input_ids"], position_ids(self._batch["attention_mask"])
        chosen = torch.arange(self.start, ids.shape[1], device=ids.device).expand(len(ids), -1)
        if tokens is not None:
            chosen = tokens.unsqueeze(1)
        inputs: dict[str, Any] = {"input_ids": ids.gather(1, chosen).repeat(copies, 1)}
        if "position_ids" in self.network.accepts:
            shifted = positions.gather(1, chosen) + self.network.position_offset
            inputs["position_ids"] = shifted.repeat(copies, 1)
        if self.start and tokens is None:
            inputs["past_key_values"] = self._cache(layer, copies)
        with self._from(layer, last, chosen, copies, changes) as network:
            return network.model.base_model(**inputs, use_cache="past_key_values" in inputs).last_hidden_state

    def _classified(
        self, layer: int, changes: Mapping[str, AtSite], copies: int
    ) -> Float[Tensor, "copies batch classes"]:
        batch = {name: values.repeat(copies, 1) for name, values in self._batch.items()}
        ids = self._batch["input_ids"]
        everything = torch.arange(ids.shape[1], device=ids.device).expand(len(ids), -1)
        with self._from(layer, None, everything, copies, changes) as network:
            return classify(network, batch).unflatten(0, (copies, -1))

    @contextmanager
    def _from(
        self,
        layer: int,
        last: int | None,
        tokens: Int[Tensor, "batch chosen"],
        copies: int,
        changes: Mapping[str, AtSite],
    ) -> Iterator[Network]:
        """Within the block, give the network that begins with what block `layer` received at these tokens."""
        start = f"layers.{layer}.in"
        if start not in self.kept:  # the first pass of all
            with self._counting(tokens, copies), hooked(self.network.model, changes):
                yield replace(self.network, model=self._watched())
            return
        given = self.kept[start].gather(1, (tokens - self.start).unsqueeze(-1).expand(-1, -1, self.network.hidden_size))
        copied = given.repeat(copies, 1, 1)
        model = _without(self.network.model, range(layer), last, self._num_outputs)
        starting = {start: lambda values, mask: copied}
        with (
            self._counting(tokens, copies),
            hooked(self.network.model, starting),
            hooked(self.network.model, changes),
        ):
            yield replace(self.network, model=model)

    def _counting(self, tokens: Int[Tensor, "batch chosen"], copies: int) -> AbstractContextManager[None]:
        """Let edits count tokens and sentences only where they are those of the batch; decoders are told no padding."""
        mask = self._batch["attention_mask"]
        is_whole = copies == 1 and tokens.shape == mask.shape and not (self.network.is_decoder and (mask == 0).any())
        return nullcontext() if is_whole else in_parts()

    def _watched(self) -> PreTrainedModel:
        """Give the model with a first block that notes how many values it gives in a tuple; 0 if it gives its alone."""
        stack, _ = blocks(self.network.model)
        watched = copy(stack[0])

        def watch(*args: Any, **named: Any) -> Any:
            output = stack[0].forward(*args, **named)
            self._num_outputs = len(output) if isinstance(output, tuple) else 0
            return output

        watched.forward = watch
        return _with_blocks(self.network.model, stack, nn.ModuleList([watched, *stack[1:]]))

    def _keep(self, site: str) -> AtSite:
        def keep(values: Tensor, mask: Tensor) -> None:
            self.kept[site] = values

        return keep

    def _may_start_late(self) -> bool:
        return self.network.is_decoder and {"past_key_values", "position_ids"} <= self.network.accepts

    @in_parts()
    def _read_before(self) -> list[tuple[Tensor, Tensor]]:
        """Give every layer's keys and values of the tokens before `start`."""
        if not self.start:
            return []
        cache = DynamicCache()
        ids = self._batch["input_ids"][:, : self.start]
        self.network.model.base_model(input_ids=ids, past_key_values=cache, use_cache=True)
        layers: Any = cache.layers  # of kinds that share no class
        return [(layer.keys, layer.values) for layer in layers]

    def _cache(self, layer: int, copies: int) -> DynamicCache:
        cache = DynamicCache()
        for number, parts in enumerate(self._before):
            # Blocks that do not run only tell how many tokens there were.
            times = copies if number >= layer else 1
            keys, values = (part.repeat(times, 1, 1, 1) for part in parts)
            cache.update(keys, values, number)
        return cache


def both(network: Network, pairs: PromptPairs, parts: Sequence[str]) -> tuple[Continuation, Continuation]:
    """Run prompts and counterfactuals once each, and keep what these parts of all layers hold, such as 'attn.heads'.

    Raises:
        UnknownName: the model has no such site.
    """
    sites = tuple(f"layers.{layer}.{part}" for layer in range(network.num_layers) for part in parts)
    mask, start = torch.from_numpy(pairs.mask), int(pairs.first_difference.min())
    ids, others = (
        {"input_ids": torch.from_numpy(each), "attention_mask": mask} for each in (pairs.ids, pairs.counterfactual_ids)
    )
    prompts = Continuation(network, ids, start, sites)
    # The first one's network: its weights are laid out already.
    return prompts, Continuation(prompts.network, others, start, sites)


def copies_at_once(base: Continuation) -> int:
    """Give the number of copies of the batch that one pass computes, which bounds the memory."""
    return max(1, TOKENS_PER_PASS // (base.num_sentences * base.num_tokens))


def bytes_at_once(base: Continuation) -> int:
    """Give roughly the memory of one pass: the stream, attention's and the MLP's values of all its tokens, float32.

    The weights that are laid out for it count too.
    """
    config = base.network.model.config
    inner = getattr(config, "intermediate_size", None) or 4 * base.network.hidden_size
    num_tokens = min(copies_at_once(base), base.network.num_layers) * base.num_sentences * base.num_tokens
    return 4 * num_tokens * (8 * base.network.hidden_size + 3 * inner) + packed_bytes(base.network.model)


def _without(model: PreTrainedModel, before: range, last: int | None, num_outputs: int) -> PreTrainedModel:
    """Give a model that shares everything with this one, but whose blocks `before`, and after `last`, do nothing."""
    stack, in_order = blocks(model)
    if len(stack) != len(in_order):  # blocks that are used several times: none can be left out
        return model
    wanted = range(before.stop, len(stack) if last is None else last + 1)
    kept = [block if number in wanted else _idle(block, num_outputs) for number, block in enumerate(stack)]
    return _with_blocks(model, stack, nn.ModuleList(kept))


def _with_blocks(module: Any, stack: nn.ModuleList, other: nn.ModuleList) -> Any:
    """Copy the modules that lead to the list of blocks, and put another list into its place; all else is shared."""
    if module is stack:
        return other
    if not any(part is stack for part in module.modules()):
        return module
    shadow = copy(module)
    shadow._modules = {name: part and _with_blocks(part, stack, other) for name, part in module._modules.items()}
    return shadow


def _idle(block: nn.Module, num_outputs: int) -> nn.Module:
    """Give a block that hands its input on; models ask their blocks for other things too, such as their mask's kind."""

    def hand_on(values: Tensor, *rest: Any, **named: Any) -> Tensor | tuple[Tensor | None, ...]:
        return (values, *[None] * (num_outputs - 1)) if num_outputs else values

    idle = copy(block)
    idle.forward = hand_on
    return idle
