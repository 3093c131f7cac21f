"""Which device a name stands for on this machine."""

from __future__ import annotations

import torch

from dimscope.core.errors import UserError


def device_named(name: str) -> torch.device:
    """Give the device 'cpu' or 'cuda'; 'auto' takes the GPU if there is one.

    >>> device_named("cpu")
    device(type='cpu')

    Raises:
        UserError: there is no such device, or not here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise UserError(f"wanted the device 'auto', 'cpu' or 'cuda', got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("the device 'cuda' was asked for, but torch sees no GPU here: use 'cpu' or 'auto'")
    return torch.device(name)
