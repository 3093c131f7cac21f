"""Training the words that occur: of the vocabulary's table, AdamW moves only rows that some training sentence has.

The gradient of the others is 0 at every step, and so are both of AdamW's means of it; all that is left is the weight
decay, a factor for each step, which waits until somebody wants the whole table. The numbers are those of AdamW on all
rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import embedding

from dimscope.models.direct import has_direct_pass
from dimscope.models.load import Network

_ROWS_AT_ONCE = 256
"""Rows that a cache holds while they shrink."""


class WholeTable:
    """All words, trained as the network has them; the gradient is a sparse tensor where told."""

    def __init__(self, table: Any, is_sparse: bool) -> None:
        self._table, self._is_sparse = table, is_sparse

    def __call__(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens dims"]:
        """Give the embeddings of words."""
        return embedding(ids, self._table.weight, self._table.padding_idx, sparse=self._is_sparse)

    def in_place_of_table(self, parameters: list[nn.Parameter]) -> list[nn.Parameter]:
        """Give the same parameters with those that are trained in the place of the table."""
        return parameters

    def write(self) -> None:
        """Bring the network's table up to date."""


class OccurringWords(WholeTable):
    """The rows whose words occur, as a parameter of its own, which the optimizer gets in the place of the table."""

    def __init__(self, table: Any, ids: Sequence[Int[np.ndarray, " words"]], optimizer: torch.optim.Optimizer) -> None:
        occurs = torch.zeros(table.num_embeddings, dtype=torch.bool, device=table.weight.device)
        occurs[torch.from_numpy(np.unique(np.concatenate(ids))).to(occurs.device)] = True
        self._rows, self._others = occurs.nonzero().flatten(), (~occurs).nonzero().flatten()
        self._whole, self._places = table, occurs.cumsum(0) - 1
        padding = None if table.padding_idx is None else int(self._places[table.padding_idx])
        own = nn.Embedding.from_pretrained(table.weight.detach()[self._rows], freeze=False, padding_idx=padding)
        super().__init__(own, is_sparse=True)
        self.weight = own.weight
        self._waiting: list[float] = []
        for group in optimizer.param_groups:
            group["params"] = self.in_place_of_table(group["params"])
        optimizer.register_step_post_hook(self._note_decay)

    def __call__(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens dims"]:
        """Give the embeddings of words that occur."""
        return super().__call__(self._places[ids])

    def in_place_of_table(self, parameters: list[nn.Parameter]) -> list[nn.Parameter]:
        """Give the same parameters with these rows in the place of the table."""
        return [self.weight if each is self._whole.weight else each for each in parameters]

    @torch.no_grad()
    def write(self) -> None:
        """Copy these rows into the table, and shrink the others as AdamW would have."""
        whole = self._whole.weight
        whole[self._rows] = self.weight
        for rows in self._others.split(_ROWS_AT_ONCE):
            values = whole[rows]
            for factor in self._waiting:
                values.mul_(factor)
            whole[rows] = values
        self._waiting.clear()

    def _note_decay(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        (group,) = (each for each in optimizer.param_groups if any(one is self.weight for one in each["params"]))
        if group["weight_decay"]:
            self._waiting.append(1 - group["lr"] * group["weight_decay"])


def words_to_train(
    network: Network, ids: Sequence[Int[np.ndarray, " words"]], optimizer: torch.optim.Optimizer
) -> WholeTable:
    """Give the words of a network that an optimizer is to train: those that occur, wherever that comes to the same."""
    table: Any = network.model.get_input_embeddings()
    # Processes average their gradients, which wants dense ones of the same parameters everywhere.
    is_apart = has_direct_pass(network) and PartialState().num_processes == 1
    is_moved = any(each is table.weight for group in optimizer.param_groups for each in group["params"])
    if is_apart and is_moved and type(optimizer) is torch.optim.AdamW:
        return OccurringWords(table, [*ids, np.array([network.pad_id])], optimizer)
    return WholeTable(table, is_sparse=is_apart)
