import pytest

from dimscope.core.progress import listening, say, work


class Log:
    def __init__(self):
        self.lines = []

    def begin(self, what, total):
        self.lines.append(("begin", what, total))
        return lambda steps: self.lines.append(("step", what, steps))

    def end(self, what):
        self.lines.append(("end", what))

    def say(self, message):
        self.lines.append(("say", message))


def test_a_listener_hears_work_from_beginning_to_end():
    log = Log()
    with listening(log), work("states", 3) as done:
        done(2)
        say("half way")
        done(1)
    assert log.lines == [
        ("begin", "states", 3),
        ("step", "states", 2),
        ("say", "half way"),
        ("step", "states", 1),
        ("end", "states"),
    ]


def test_work_ends_when_it_breaks_off():
    log = Log()

    def broken():
        with listening(log), work("training", 1):
            raise KeyError("x")

    with pytest.raises(KeyError):
        broken()
    assert log.lines[-1] == ("end", "training")


def test_nobody_listens_after_the_block():
    log = Log()
    with listening(log):
        pass
    say("unheard")
    assert log.lines == []
