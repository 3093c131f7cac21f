import pytest
import torch

from dimscope.scoring import cost
from dimscope.scoring.cost import Cost, in_words, num_tokens, speed, total

NOTHING = Cost(0, 0, 0, 0, 0, 0)


def test_time_grows_with_the_work_and_falls_with_the_speed():
    once = Cost(0, 0, 0, 0, training=6e12, measuring=2e12)
    assert once.seconds(1e12, 1e12) == pytest.approx(8 / cost.USUAL_SHARE)
    assert once.seconds(2e12, 1e12) == pytest.approx(5 / cost.USUAL_SHARE)
    assert total([once, once]).seconds(1e12, 1e12) == pytest.approx(2 * once.seconds(1e12, 1e12))
    assert Cost(4, 0, 0, 0, 0, 0).seconds(1, 1) == 4 * cost.SECONDS_PER_RUN


@pytest.mark.parametrize(
    ("inputs", "expected"), [([], 0), ([("12345678",)], 2), ([("1234", "5678")], 2), ([("x" * 4000,), ("1234",)], 65)]
)
def test_tokens_are_guessed_from_letters_and_cut(inputs, expected):
    assert num_tokens(inputs, max_length=64) == expected


def test_speed_is_operations_of_one_product_over_its_time(monkeypatch):
    class Timer:
        def __init__(self, statement, globals, num_threads):
            assert eval(statement, globals).shape == (1024, 1024)

        def blocked_autorange(self, min_run_time):
            return type("Measurement", (), {"median": 0.5})

    monkeypatch.setattr(cost, "Timer", Timer)
    assert speed(torch.device("cpu"), torch.float32) == 2 * 1024**3 / 0.5


def test_the_real_timer_gives_a_speed():
    assert speed(torch.device("cpu"), torch.float32, seconds=0.01) > 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "a minute"),
        (89, "a minute"),
        (90, "2 minutes"),
        (3600, "60 minutes"),
        (7200, "2 hours"),
        (90000, "25 hours"),
    ],
)
def test_the_time_is_told_roughly(seconds, words):
    assert f"about {words} and" in in_words(NOTHING, seconds)
