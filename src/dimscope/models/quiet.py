"""Silence for the libraries underneath: their reports and bars are not what the user asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers.utils import logging


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block, let Hugging Face's libraries print errors only and draw no bars."""
    verbosity = logging.get_verbosity()
    model_bars, hub_bars = logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if model_bars:
            logging.enable_progress_bar()
        if hub_bars:
            enable_progress_bars()
