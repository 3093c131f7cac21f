"""Which of several processes this one is (`accelerate launch`, `torchrun`); alone, it is the main one."""

from __future__ import annotations

import os

from accelerate import PartialState


def is_main() -> bool:
    """Tell whether this process is the one that writes files."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_all() -> None:
    """Return when every process has come here."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        PartialState().wait_for_everyone()
