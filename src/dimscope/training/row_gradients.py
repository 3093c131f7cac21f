"""Gradients of tables of which a batch uses few rows: only those rows are ever written.

The gradient of a vocabulary's embeddings is as large as half of a small model, and all but some hundred rows of it are
0. Here it comes as a sparse tensor, is laid into a dense one that stands between steps, and is taken out again: the
optimizer sees what it always sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


class RowGradients:
    """The dense gradients of those parameters whose own gradients come sparse."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self._dense: dict[nn.Parameter, torch.Tensor] = {}

    @contextmanager
    def dense(self) -> Iterator[None]:
        """Within the block every gradient is dense; afterwards those that were sparse are none."""
        sparse = {each: each.grad for each in self._parameters if each.grad is not None and each.grad.is_sparse}
        for parameter, gradient in sparse.items():
            if parameter not in self._dense:
                self._dense[parameter] = torch.zeros_like(parameter)
            parameter.grad = self._dense[parameter]
            parameter.grad.index_add_(0, gradient._indices()[0], gradient._values())
        yield
        for parameter, gradient in sparse.items():
            parameter.grad = None
            self._dense[parameter].index_fill_(0, gradient._indices()[0], 0)
