import ctypes
import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dimscope.numerics import threads
from dimscope.numerics.threads import in_torch_threads


def at_work(given, num_threads, at_once):
    """Start a task and give what each thread found and which it is, after so many of them were at work at once."""
    noted, meeting = [], threading.Barrier(at_once)

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def note(address):
        noted.append((ctypes.c_ssize_t.from_address(address).value, threading.get_ident()))
        meeting.wait(timeout=60)

    task = SimpleNamespace(address=ctypes.cast(note, ctypes.c_void_p).value, ctypes=note)
    in_torch_threads(task, np.array([given], np.intp), num_threads)
    return noted


@pytest.mark.skipif(not torch.backends.openmp.is_available(), reason="torch is not linked with OpenMP")
def test_threads_are_at_work_at_once_and_the_same_every_time():
    first, again = at_work(7, num_threads=2, at_once=2), at_work(8, num_threads=2, at_once=2)
    assert [given for given, _ in first + again] == [7, 7, 8, 8]
    assert len({thread for _, thread in first + again}) == 2


@pytest.mark.parametrize("lacks", [{"_openmp": lambda: None}, {"_PROCESS": os.getpid() + 1}], ids=["OpenMP", "fork"])
def test_this_thread_does_it_alone_where_there_are_no_others(lacks, monkeypatch):
    for name, value in lacks.items():
        monkeypatch.setattr(threads, name, value)
    assert at_work(7, num_threads=2, at_once=1) == [(7, threading.get_ident())]


def test_one_thread_is_this_one():
    assert at_work(7, num_threads=1, at_once=1) == [(7, threading.get_ident())]
