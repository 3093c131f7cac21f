"""What tests of cheap forms have in common."""

from __future__ import annotations

import pytest
import torch


def _gradients(function, *inputs: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    leaves = [each.detach().clone().requires_grad_() for each in inputs]
    out = function(*leaves)
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).to(out.dtype))
    return out.detach(), [leaf.grad for leaf in leaves]


@pytest.fixture
def gradients():
    """What a function gives, and the gradients of its inputs for one drawn gradient of that."""
    return _gradients
