"""What a person sees of messages."""

from rich.progress import Progress

from dimscope.cli.terminal import Bars, console


def test_what_many_runs_say_in_a_row_is_shown_once_and_noted_every_time(capsys):
    noted = []
    bars = Bars(Progress(console=console), noted.append)
    said = ["4 pairs", "4 pairs", "7 pairs", "4 pairs"]
    for message in said:
        bars.say(message)
    assert capsys.readouterr().err.splitlines() == ["4 pairs", "7 pairs", "4 pairs"]
    assert noted == said
