"""Which precision a device multiplies natively."""

from __future__ import annotations

from typing import Literal

import torch

_CPU_BFLOAT16 = ("amx_bf16", "avx512_bf16")
_FIRST_CUDA_BFLOAT16 = 8  # compute capability of Ampere


def native_precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    """Give 'bfloat16' where the device multiplies it natively, else 'float32'."""
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device)[0] >= _FIRST_CUDA_BFLOAT16
    else:
        capabilities = torch.cpu.get_capabilities()
        native = device.type == "cpu" and any(capabilities.get(name) for name in _CPU_BFLOAT16)
    return "bfloat16" if native else "float32"
