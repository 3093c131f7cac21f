import numpy as np
import pytest

from dimscope.numerics.kernels import dropout
from dimscope.numerics.kernels.dropout import STEPS, draw_factors

SEEDS = [0, 5, 2**63 - 1]


def splitmix64(seed, num_words):
    """Steele, Lea & Flood's generator in Python's whole numbers, started at its word 0."""
    for i in range(num_words):
        word = (seed + i * 0x9E3779B97F4A7C15) % 2**64
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        yield word ^ word >> 31


def drawn(num_factors, kind=np.uint16, seed=1, num_dropped=STEPS // 2, factor=3, num_threads=1):
    out = np.full(num_factors, 7, kind)
    draw_factors(out, seed, num_dropped, factor, num_threads)
    return out


def test_the_oracle_is_splitmix64():
    """The first numbers of seed 1234567 that are published everywhere begin one step later than its word 0."""
    assert list(splitmix64(1234567, 3))[1:] == [6457827717110365317, 3203168211198807973]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("kind", "factor"), [(np.uint16, 0x3F8E), (np.uint32, 0x3F8E38E4)])
@pytest.mark.parametrize("num_dropped", [1, 6554, STEPS - 1])
def test_every_number_is_dropped_by_its_own_16_bits(seed, kind, factor, num_dropped):
    words = list(splitmix64(seed, 80))
    is_kept = [word >> 16 * part & 0xFFFF >= num_dropped for word in words for part in range(4)]
    expected = np.where(is_kept, factor, 0)
    np.testing.assert_array_equal(drawn(320, kind, seed, num_dropped, factor), expected)


@pytest.mark.parametrize("num_threads", [2, 3])
def test_any_number_of_threads_draws_the_same(num_threads, monkeypatch):
    monkeypatch.setattr(dropout, "LONG", 64)
    np.testing.assert_array_equal(drawn(32 * 1001, num_threads=num_threads), drawn(32 * 1001))


def test_nothing_is_drawn_for_nothing():
    assert not len(drawn(0))


def test_another_seed_draws_others_as_often():
    first, second = drawn(2**20) > 0, drawn(2**20, seed=2) > 0
    agreed = (first == second).mean()
    assert abs(agreed - 0.5) < 5 * 0.5 / 2**10
