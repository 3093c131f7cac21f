"""The sentences of a batch without their padding: their tokens are rows, one sentence after the other."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float, Int, Int64, Shaped
from torch import Tensor

from dimscope.models.pooling import pool, pooled_token
from dimscope.numerics.kernels.attention import Tables


class Sentences:
    """The tokens of a padded batch as rows, of which there are a multiple of `step`.

    What fills them up are copies of the last token, which belong to no sentence.

    >>> sentences = Sentences(torch.tensor([[1, 0, 0], [0, 1, 1]]), step=4)
    >>> sentences.starts.tolist(), sentences.rows(torch.tensor([[5, 0, 0], [0, 6, 7]])).tolist()
    ([0, 1, 3], [5, 6, 7, 7])
    """

    def __init__(self, mask: Int[Tensor, "batch tokens"], step: int = 1) -> None:
        self.mask = mask
        places = mask.flatten().nonzero().flatten()
        self.num_tokens = len(places)
        filling = -self.num_tokens % step
        self._places = torch.cat([places, places[-1:].expand(filling)]) if filling else places
        self._tables: dict[int, Tables] = {}

    @cached_property
    def starts(self) -> Int64[Tensor, " sentences+1"]:
        """The first row of every sentence, and the one after the last."""
        ends = self.mask.sum(1).cumsum(0)
        return torch.cat([ends.new_zeros(1), ends])

    def tables(self, heads: int) -> Tables:
        """Give where attention's tables stand."""
        if heads not in self._tables:
            self._tables[heads] = Tables(self.starts, heads)
        return self._tables[heads]

    @property
    def is_full(self) -> bool:
        """Whether nothing is padding, and nothing fills up: then rows are those of the batch."""
        return len(self._places) == self.num_tokens == self.mask.numel()

    def rows(self, padded: Shaped[Tensor, "batch tokens *rest"]) -> Shaped[Tensor, "rows *rest"]:
        """Give the rows of what is padded."""
        return padded.flatten(0, 1) if self.is_full else padded.flatten(0, 1).index_select(0, self._places)

    def padded(self, rows: Shaped[Tensor, "rows *rest"]) -> Shaped[Tensor, "batch tokens *rest"]:
        """Give rows as they stand in the batch, and 0 for padding."""
        if not self.is_full:
            out = rows.new_zeros(self.mask.numel(), *rows.shape[1:])
            rows = out.index_copy(0, self._places[: self.num_tokens], rows[: self.num_tokens])
        return rows.unflatten(0, self.mask.shape)

    def row_of(self, tokens: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Give the row of one token of every sentence, told by its place in the batch."""
        before = self.mask.cumsum(1).gather(1, tokens.unsqueeze(1)).squeeze(1) - 1
        return self.starts[:-1] + before

    def pooled(self, rows: Float[Tensor, "rows dims"], pooling: str) -> Float[Tensor, "batch dims"]:
        """Give the state of the first or the last token of every sentence, or the mean; see `pooling.pool`."""
        if pooling == "mean":
            return pool(self.padded(rows), self.mask, pooling)
        return rows[self.row_of(pooled_token(self.mask, pooling))]
