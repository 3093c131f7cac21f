import subprocess
import sys

import numpy as np

from dimscope.core.seeds import integer, stream


def test_a_stream_is_the_same_in_another_process():
    code = "from dimscope.core.seeds import stream; print(stream(7, 'x').integers(1 << 40))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(other) == stream(7, "x").integers(1 << 40)


def test_names_and_seeds_give_independent_streams():
    draws = [stream(seed, name).normal(size=4000) for seed in (1, 2) for name in ("a", "b")]
    correlations = np.corrcoef(draws)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(4000)


def test_integers_fit_torch_and_differ():
    values = {integer(seed, name) for seed in range(50) for name in ("head", "dropout/0")}
    assert len(values) == 100
    assert all(0 <= value < 2**63 for value in values)
