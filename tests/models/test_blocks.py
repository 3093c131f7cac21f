from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from dimscope.models.blocks import bias, size, weight


@pytest.mark.parametrize("linear", [nn.Linear(3, 2), nn.Linear(3, 2, bias=False), Conv1D(2, 3)])
def test_a_linear_map_is_its_matrix_and_its_bias(linear: nn.Module):
    values = torch.randn(5, 3)
    torch.testing.assert_close(values @ weight(linear).T + bias(linear), linear(values))
    assert size(linear) == tuple(weight(linear).shape) == (2, 3)
