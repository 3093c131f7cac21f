"""Where what was fetched or made once is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Give $DIMSCOPE_CACHE, else `dimscope` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache)."""
    if chosen := os.environ.get("DIMSCOPE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dimscope"
