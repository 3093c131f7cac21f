from __future__ import annotations

import pytest
from transformers.utils import logging

from dimscope.models.quiet import quiet


def test_what_was_loud_is_loud_again_even_after_an_error():
    logging.enable_progress_bar()
    before = logging.get_verbosity()
    with quiet():
        assert not logging.is_progress_bar_enabled()
        assert logging.get_verbosity() == logging.ERROR
    with pytest.raises(ZeroDivisionError), quiet():
        _ = 1 / 0
    assert logging.is_progress_bar_enabled()
    assert logging.get_verbosity() == before
