"""Which of several processes this one is (`accelerate launch`, `torchrun`); alone, it is the main one."""

from __future__ import annotations

import os


def is_main() -> bool:
    """Tell whether this process is the one that writes files and talks to the user."""
    return int(os.environ.get("RANK", "0")) == 0
