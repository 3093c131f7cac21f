"""What the pages say is there: every relative link, and every command with its flags."""

import re
import shlex
from pathlib import Path

import pytest
from cyclopts import App, UnknownOptionError

from dimscope.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
    if "_build" not in path.parts
)
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
COMMAND = re.compile(r"(?:^|\.venv/bin/|-m )dimscope(?:\.cli\.main)? (.+)")
WORDS_FOR_THE_READER = re.compile(r"\[[^\]]*\]|#.*")


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    broken = [target for target in LINK.findall(text) if not ((ROOT / page).parent / target).exists()]
    assert broken == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists_with_its_flags(page, blocks, monkeypatch):
    # Commands that name a method or a recipe hand their words on by a call: that one is to parse too, and not to run.
    monkeypatch.setattr(App, "__call__", _parse)
    for command in (each for block in blocks(page, "") for each in _commands(block)):
        _parse_to_the_end(command)


@pytest.mark.parametrize("command", ["list models", "run finetune/full", "reproduce outlier_dimensions"])
def test_a_command_with_an_unknown_flag_is_found(command, monkeypatch):
    monkeypatch.setattr(App, "__call__", _parse)
    with pytest.raises(UnknownOptionError, match="--no-such-flag"):
        _parse_to_the_end(f"{command} --no-such-flag 1 --model m --task t --out o")


def test_the_readme_shows_every_command(blocks):
    shown = {each.split()[0] for block in blocks("README.md", "") for each in _commands(block)}
    assert shown == {name for name in app if not name.startswith("-")}


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_readme_starts_with_targets_that_make_has(target, blocks):
    assert f"make {target} " in blocks("README.md", "")[0]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def _parse_to_the_end(command):
    function, bound, _ = _parse(app, shlex.split(command))
    if function.__name__ == "dispatch":
        function(*bound.args)


def _parse(parser, words, **_):
    return parser.parse_args(words, exit_on_error=False, print_error=False)


def _commands(block):
    """The words behind `dimscope`; several commands of one line stand well apart."""
    for line in WORDS_FOR_THE_READER.sub("", block).splitlines():
        for part in re.split(r"\s{3,}", line):
            if found := COMMAND.search(part.strip()):
                yield found[1]
