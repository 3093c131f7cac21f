"""Which tokens of a batch are meant, counted in each sentence from its first real token, wherever the padding stands.

So a token has the same number alone, padded on the right and padded on the left, and in a batch that was turned because
an encoder reads its first token at position 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dimscope.core.errors import UserError
from dimscope.models.pooling import pooled_token

Tokens = Literal["all", "pooled"] | Int[np.ndarray, "batch chosen"]
"""All tokens, the one that the classifier reads, or the numbers of some in every sentence."""
_in_parts: ContextVar[bool] = ContextVar("in_parts", default=False)


@contextmanager
def in_parts() -> Iterator[None]:
    """Within the block, the passes of this thread are of copies and parts of sentences: no token has its number."""
    token = _in_parts.set(True)
    try:
        yield
    finally:
        _in_parts.reset(token)


def require_whole_sentences() -> None:
    """Refuse what counts tokens or sentences where a pass is of copies and parts.

    Raises:
        UserError: it is.
    """
    if _in_parts.get():
        raise UserError(
            "an edit of single tokens or sentences cannot hold in a continuation's pass over copies, parts or a padded "
            "batch: give the pass the change at its site instead, or run whole passes within the block of edits"
        )


@dataclass(frozen=True, eq=False)
class Places:
    """The chosen tokens of one forward pass: `columns` says where they stand in the batch."""

    mask: Int[Tensor, "batch tokens"]
    columns: Int[Tensor, "batch chosen"]
    are_all: bool

    @classmethod
    def of(cls, tokens: Tokens, mask: Int[Tensor, "batch tokens"], pooling: str) -> Places:
        """Find the tokens by the mask.

        >>> Places.of(np.array([[0, 1]]), torch.tensor([[0, 1, 1]]), "last").columns
        tensor([[1, 2]])

        Raises:
            UserError: a sentence has no such token, or the numbers are those of another number of sentences.
        """
        if isinstance(tokens, np.ndarray):
            return cls(mask, _first(mask) + _numbers(tokens, mask), are_all=False)
        if tokens == "pooled":
            return cls(mask, pooled_token(mask, pooling).unsqueeze(1), are_all=False)
        return cls(mask, torch.arange(mask.shape[1], device=mask.device).expand_as(mask), are_all=True)

    @property
    def numbers(self) -> Int[Tensor, "batch chosen"]:
        """The tokens' numbers in their sentences; padding before them counts as 0."""
        return (self.columns - _first(self.mask)).clamp(min=0)

    @property
    def are_real(self) -> Tensor:
        """Which of them are no padding: bool [batch, chosen]."""
        return self.mask.gather(1, self.columns).bool()

    def take(self, values: Float[Tensor, "batch tokens dims"]) -> Float[Tensor, "batch chosen dims"]:
        """Give the values of the chosen tokens."""
        return values if self.are_all else values[self._rows, self.columns]

    def put(
        self, new: Float[Tensor, "batch chosen dims"], values: Float[Tensor, "batch tokens dims"]
    ) -> Float[Tensor, "batch tokens dims"]:
        """Give the values with new ones for the chosen tokens."""
        if self.are_all:
            return new
        changed = values.clone()
        changed[self._rows, self.columns] = new
        return changed

    @property
    def _rows(self) -> Tensor:
        return torch.arange(len(self.mask), device=self.mask.device).unsqueeze(1)


def by_number(given: Tensor, numbers: Int[Tensor, "batch tokens"], axis: int) -> Tensor:
    """Lay an axis of given values, along which each sentence's tokens are counted, out as the batch has its tokens.

    >>> by_number(torch.tensor([[5, 6]]), torch.tensor([[0, 0, 1]]), axis=1)
    tensor([[5, 5, 6]])
    """
    shape = list(given.shape)
    shape[axis] = numbers.shape[1]
    alone = [n if dim in (0, axis) else 1 for dim, n in enumerate(shape)]
    index = numbers.clamp(max=given.shape[axis] - 1).view(alone)
    return given.gather(axis, index.expand(shape))


def _first(mask: Int[Tensor, "batch tokens"]) -> Int[Tensor, "batch 1"]:
    return pooled_token(mask, "first").unsqueeze(1)


def _numbers(tokens: Int[np.ndarray, "batch chosen"], mask: Int[Tensor, "batch tokens"]) -> Tensor:
    if tokens.ndim != 2 or len(tokens) != len(mask):
        raise UserError(
            f"wanted the tokens as [sentences, chosen] for a batch of {len(mask)} sentences, came {tokens.shape}"
        )
    lengths = mask.sum(1, keepdim=True).cpu().numpy()
    wrong = np.argwhere((tokens < 0) | (tokens >= lengths))
    if len(wrong):
        row, which = wrong[0]
        raise UserError(
            f"sentence {row} of the batch has the tokens 0 to {lengths[row, 0] - 1}, asked for {tokens[row, which]}"
        )
    return torch.as_tensor(tokens, device=mask.device)
