"""Where numbers come from: the hash that names a run, and the versions and machine that made it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

RESULT_VERSION = 8
"""Raised when a change of the library moves numbers; stored runs of another version are then not reused."""

_PACKAGES = ("dimscope", "torch", "transformers", "accelerate", "numpy", "scipy", "scikit-learn")


def digest(value: Any) -> str:
    """Give the 16 hexadecimal digits that stand for a JSON value.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run_key(method: str, method_version: int, settings: Mapping[str, Any], bench: Mapping[str, Any]) -> str:
    """Name a run: equal keys give equal numbers."""
    parts = {"method": method, "version": method_version, "settings": dict(settings), "bench": dict(bench)}
    return digest({**parts, "result_version": RESULT_VERSION})


def provenance(seconds: float) -> dict[str, Any]:
    """Tell what made a run's numbers and when; no part of its key."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "versions": {package: version(package) for package in _PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "num_cores": os.cpu_count(),
    }
