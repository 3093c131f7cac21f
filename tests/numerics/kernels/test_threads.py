import ctypes
import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numba import carray

from dimscope.numerics.kernels import threads
from dimscope.numerics.kernels.instructions import pointer
from dimscope.numerics.kernels.threads import Task, in_torch_threads, next_range


def at_work(given, num_threads, at_once):
    """Start a task and give what each thread found and which it is, after so many of them were at work at once."""
    noted, meeting = [], threading.Barrier(at_once)

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def note(address):
        noted.append((ctypes.c_ssize_t.from_address(address).value, threading.get_ident()))
        meeting.wait(timeout=60)

    task = SimpleNamespace(address=ctypes.cast(note, ctypes.c_void_p).value, ctypes=note)
    in_torch_threads(task, (ctypes.c_ssize_t * 1)(given), num_threads)
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


@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("num_pieces", [0, 1, 7, 1000])
def test_every_piece_is_done_once(num_pieces, num_threads):
    def count(given):
        work = carray(given, 1)[0]
        done, nothing = carray(pointer(work.done), work.num_pieces, np.intp), work.nothing
        first, last = next_range(given)
        while first < last:
            for piece in range(first, last):
                done[piece] += work.number + nothing
            first, last = next_range(given)

    for done in (np.zeros(num_pieces, np.intp), torch.zeros(num_pieces, dtype=torch.int64)):
        Task(count, "done", "number", "nothing")(num_threads, num_pieces, done=done, number=3, nothing=None)
        assert done.tolist() == [3] * num_pieces
