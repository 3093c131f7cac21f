import errno

import pytest

from dimscope.core.errors import UserError
from dimscope.store import files
from dimscope.store.log import log


def messages(path):
    return [line.split(" ", 1)[1] for line in path.read_text().splitlines()]


def test_messages_stand_between_start_and_end_a_line_each(tmp_path):
    path = tmp_path / "new" / "log.txt"
    with log(path, "dimscope run x") as add:
        add("two\nlines")
    first, said, last = messages(path)
    assert first.startswith("started: dimscope run x (dimscope ")
    assert said == "two lines"
    assert last.startswith("done in 0.")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UserError("no such thing"), "no such thing"),
        (KeyError("x"), "KeyError: 'x'"),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
    ],
)
def test_the_end_tells_why_it_stopped(tmp_path, error, told):
    with pytest.raises(type(error)), log(tmp_path / "log.txt", "x"):
        raise error
    assert messages(tmp_path / "log.txt")[-1].partition(" s: ")[2] == told.strip()


def test_what_was_logged_stays(tmp_path):
    for _ in range(2):
        with log(tmp_path / "log.txt", "x"):
            pass
    assert len(messages(tmp_path / "log.txt")) == 4


def test_the_error_is_told_even_if_the_log_cannot_be_written(tmp_path, monkeypatch):
    def full(path, line):
        raise UserError("the log cannot be written")

    logging = log(tmp_path / "log.txt", "x")
    logging.__enter__()
    monkeypatch.setattr("dimscope.store.log.append_line", full)
    error = OSError(errno.EIO, "the real one")
    assert not logging.__exit__(OSError, error, None)


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        files.append_line(tmp_path / "file" / "log.txt", "x")
