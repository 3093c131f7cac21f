"""Gradients that come sparse, as the optimizer sees them."""

from __future__ import annotations

import torch
from torch import nn

from dimscope.training.row_gradients import RowGradients


def trained(sparse: bool) -> torch.Tensor:
    torch.manual_seed(0)
    table = nn.Embedding(6, 3, sparse=sparse)
    optimizer = torch.optim.AdamW(table.parameters(), 0.1, weight_decay=0.1)
    rows = RowGradients(list(table.parameters()))
    for ids in ([1, 1, 4], [2, 4, 4], [0, 1, 2]):
        table(torch.tensor(ids)).square().sum().backward()
        with rows.dense():
            assert not table.weight.grad.is_sparse
            optimizer.step()
        if not sparse:
            table.zero_grad()
        assert table.weight.grad is None
    return table.weight.detach()


def test_the_optimizer_sees_what_it_always_sees():
    torch.testing.assert_close(trained(sparse=True), trained(sparse=False))
