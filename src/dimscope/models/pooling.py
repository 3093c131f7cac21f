"""One state per sentence out of one per token, strictly by the attention mask.

Neither the pad id nor the padding side is trusted: a text may hold the pad token, and a batch may be padded
on either side. So a sentence's state is the same alone and in any batch.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dimscope.core.errors import UnknownName
from dimscope.models.load import Network

Pooling = Literal["first", "last", "mean"]


def pool(
    hidden: Float[Tensor, "batch tokens dims"], mask: Int[Tensor, "batch tokens"], pooling: str
) -> Float[Tensor, "batch dims"]:
    """Give the state of the first or the last real token, or the mean over the real tokens.

    >>> hidden = torch.tensor([[[9.0], [1.0], [3.0]]])
    >>> [pool(hidden, torch.tensor([[0, 1, 1]]), how).item() for how in ("first", "last", "mean")]
    [1.0, 3.0, 2.0]

    Raises:
        UnknownName: there is no such pooling.
    """
    if pooling == "mean":
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        # A masked state times 0 is NaN where the state is infinite: pads are left out, not weighted out.
        return hidden.masked_fill(weights == 0, 0).sum(1) / weights.sum(1)
    return hidden[torch.arange(len(hidden), device=hidden.device), pooled_token(mask, pooling)]


def pooled_token(mask: Int[Tensor, "batch tokens"], pooling: str) -> Int[Tensor, " batch"]:
    """Give the place of the first or the last real token of every sentence.

    >>> pooled_token(torch.tensor([[0, 1, 1], [1, 1, 0]]), "last")
    tensor([2, 1])
    """
    if pooling == "first":
        return mask.argmax(1)
    if pooling == "last":
        return mask.shape[1] - 1 - mask.flip(1).argmax(1)
    raise UnknownName("pooling", pooling, ["first", "last", "mean"])


def default_pooling(network: Network) -> Pooling:
    """Give the token that the classifier reads: the first of an encoder, the last of a decoder."""
    return "last" if network.is_decoder else "first"


def position_ids(mask: Int[Tensor, "batch tokens"], offset: int = 0) -> Int[Tensor, "batch tokens"]:
    """Number the real tokens of every sentence from `offset` on, wherever the padding stands.

    >>> position_ids(torch.tensor([[0, 1, 1]]))
    tensor([[0, 0, 1]])
    """
    return (mask.cumsum(1) - 1).clamp(min=0) + offset
