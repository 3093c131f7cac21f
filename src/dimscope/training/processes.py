"""Where several processes (`accelerate launch`, `torchrun`) wait for each other."""

from __future__ import annotations

import os

from accelerate import PartialState


def wait_for_all() -> None:
    """Return when every process has come here."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        PartialState().wait_for_everyone()
