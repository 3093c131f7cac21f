"""What a timing depends on: the processor, its cores, memory and instruction sets, and the versions of packages."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("dimscope", "numpy", "scipy", "scikit-learn", "torch", "transformers")
"""Always told; a rival is told by the module that was imported."""

RIVALS = ("sentence_transformers", "peft", "bitsandbytes", "transformer_lens", "nnsight", "skdim")

_DISTRIBUTIONS = {"skdim": "scikit-dimension", "transformer_lens": "transformer-lens"}


def machine() -> dict[str, Any]:
    """Describe the machine; of the instruction sets, those that vector and matrix code is written for."""
    about = _processor()
    described = {
        "processor": about.get("model name", platform.processor() or platform.machine()),
        "system": f"{platform.system()} {platform.machine()}",
        "num_cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "instructions": [each for each in about.get("flags", "").split() if each.startswith(("avx", "amx"))],
    }
    return {**described, **_torch()}


def versions() -> dict[str, str]:
    """Give the versions of Python, of what the library stands on, and of the rivals that took part."""
    told = [*PACKAGES, *(_DISTRIBUTIONS.get(rival, rival) for rival in RIVALS if rival in sys.modules)]
    return {"python": platform.python_version(), **{package: version(package) for package in told}}


def _processor() -> dict[str, str]:
    """The first processor of Linux's list, by field; empty elsewhere."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().split("\n\n")[0].splitlines() if file.exists() else []
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _torch() -> dict[str, Any]:
    """What torch makes of the machine, where it took part: importing it would take seconds."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    used = {"torch_instructions": torch.backends.cpu.get_cpu_capability(), "torch_threads": torch.get_num_threads()}
    return used | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})
