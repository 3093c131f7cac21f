from __future__ import annotations

import os

import numpy as np
from frame.fresh import fresh, peak_mib


def test_the_peak_is_that_of_the_function_alone():
    here = np.ones(200 * 2**17)
    little, little_mib = fresh(np.ones, 10)
    _, much_mib = fresh(np.ones, 100 * 2**17)
    assert little.tolist() == [1.0] * 10
    # What it returns is also written down to be sent, so 100 MiB are there twice or more.
    assert 95 < much_mib - little_mib < 600
    assert little_mib < peak_mib() - here.nbytes / 2**20 / 2


def test_the_process_is_another():
    assert fresh(os.getpid)[0] != os.getpid()
