import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import config
from scipy.linalg import hadamard

from dimscope.numerics.kernels import butterflies


@pytest.fixture
def imported_from(monkeypatch):
    """The module of a file, imported once more under another name."""

    def build(file):
        spec = importlib.util.spec_from_file_location("butterflies_again", file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return build


def test_it_works_where_no_folder_can_be_written(imported_from, monkeypatch, tmp_path):
    """Neither beside the file nor in the user's cache; files in their places keep even root from making them."""
    copied = Path(shutil.copy(butterflies.__file__, tmp_path))
    (tmp_path / "__pycache__").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "__pycache__"))
    monkeypatch.setattr(config, "CACHE_DIR", "")
    module = imported_from(copied)
    x = np.arange(64.0).reshape(2, 32)
    np.testing.assert_array_equal(module.transform(x, np.empty_like(x), num_threads=1), x @ hadamard(32))
    assert module._transform_pieces.stats.cache_path is None


def test_what_is_compiled_is_kept(imported_from, monkeypatch, tmp_path):
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    imported_from(butterflies.__file__).transform(*np.ones((2, 1, 2)), num_threads=1)
    assert list(tmp_path.rglob("*.nbc"))


def test_a_process_may_fork_after_a_transform_in_threads():
    """Threads of a pool that outlived the transform would be missing in the child, which would wait for ever."""
    program = (
        "import os, numpy as np; from dimscope.numerics.kernels.butterflies import LONG, transform\n"
        "x = np.arange(2.0 * LONG).reshape(2, -1)\n"
        "expected = transform(x, x.copy(), num_threads=2)\n"
        "child = os.fork()\n"
        "if not child: os._exit(int(np.array_equal(transform(x, x.copy(), num_threads=2), expected)))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout == "1\n"
