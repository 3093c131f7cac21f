from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dimscope.core.errors import UserError
from dimscope.store import files
from dimscope.store.files import new_folder, remove_leftovers, sha256, write_bytes, write_json, write_text


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def broken(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_written_with_its_folders_and_nothing_beside_it(tmp_path: Path):
    write_bytes(tmp_path / "a" / "b" / "c.bin", b"\0\xff")
    write_text(tmp_path / "a" / "d.txt", "naïve 😀\n")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\0\xff"
    assert (tmp_path / "a" / "d.txt").read_bytes() == "naïve 😀\n".encode()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "c.bin", "d.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str):
    write_text(tmp_path / "x", "old")
    monkeypatch.setattr(files.os, step, broken)
    with pytest.raises(UserError, match=r"cannot write .*x: no space is left .* same command again"):
        write_text(tmp_path / "x", "new")
    assert content(tmp_path) == {"x": "old"}


def test_a_closed_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def closed(source: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(target))

    monkeypatch.setattr(files.os, "replace", closed)
    with pytest.raises(UserError, match="not allowed there"):
        write_text(tmp_path / "x", "new")


def test_what_is_no_fault_of_the_disk_is_not_reworded(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_json_is_strict_sorted_and_free_of_numpy(tmp_path: Path):
    value = {"b": [np.float32(0.5), float("nan"), -np.inf], "a": (np.int64(3), np.bool_(True), None), 1: "é"}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    read = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert read == {"a": [3, True, None], "b": [0.5, None, None], "1": "é"}
    assert text.startswith('{\n "1": "é",\n "a"')
    assert text.endswith("}\n")


def test_what_json_cannot_say_is_an_error_and_no_file(tmp_path: Path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"a": object()})
    assert content(tmp_path) == {}


def test_a_folder_appears_whole(tmp_path: Path):
    with new_folder(tmp_path / "deep" / "made") as unfinished:
        write_text(unfinished / "sub" / "x", "1")
        assert not (tmp_path / "deep" / "made").exists()
    assert content(tmp_path) == {"deep/made/sub/x": "1"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["made"]


@pytest.mark.parametrize("replace", [False, True])
def test_nothing_is_left_of_a_folder_that_failed(tmp_path: Path, replace: bool):
    with new_folder(tmp_path / "old") as unfinished:
        write_text(unfinished / "x", "old")
    for name in ("old", "new"):
        with pytest.raises(TypeError), new_folder(tmp_path / name, replace) as unfinished:
            write_json(unfinished / "x", object())
    assert content(tmp_path) == {"old/x": "old"}


@pytest.mark.parametrize(("replace", "kept"), [(False, {"x": "first"}), (True, {"y": "second"})])
def test_of_two_makers_the_first_wins_unless_replacing_was_asked(tmp_path: Path, replace: bool, kept: dict[str, str]):
    with new_folder(tmp_path / "made", replace) as second:
        write_text(second / "y", "second")
        with new_folder(tmp_path / "made", replace) as first:
            write_text(first / "x", "first")
    assert content(tmp_path / "made") == kept
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_full_disk_in_the_block_is_told(tmp_path: Path):
    with pytest.raises(UserError, match="no space is left"), new_folder(tmp_path / "made"):
        broken()
    assert list(tmp_path.iterdir()) == []


def test_the_known_hash(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def killed_in_the_middle(folder: Path) -> None:
    script = (
        "import os, pathlib, sys; from dimscope.store.files import new_folder, write_text\n"
        "with new_folder(pathlib.Path(sys.argv[1])) as unfinished:\n"
        "    write_text(unfinished / 'x', 'half')\n"
        "    os._exit(9)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", script, str(folder)], env=environment, check=False)
    assert ran.returncode == 9


def test_a_killed_process_leaves_nothing_that_the_next_one_does_not_remove(tmp_path: Path):
    killed_in_the_middle(tmp_path / "made")
    assert not (tmp_path / "made").exists()
    assert len(list(tmp_path.iterdir())) == 1
    with new_folder(tmp_path / "made") as unfinished:
        write_text(unfinished / "x", "whole")
    assert content(tmp_path) == {"made/x": "whole"}


def test_writing_a_file_removes_leftovers_too(tmp_path: Path):
    killed_in_the_middle(tmp_path / "made")
    write_text(tmp_path / "y", "1")
    assert content(tmp_path) == {"y": "1"}


def test_only_leftovers_are_removed(tmp_path: Path):
    ours = ".tmp-elsewhere-1-ab-x", ".tmp-notes", "x.tmp-1", f"{files._MARK}notes"
    for name in ours:
        (tmp_path / name).touch()
    with new_folder(tmp_path / "made"):
        remove_leftovers(tmp_path)
        alive = [path.name for path in tmp_path.iterdir() if path.is_dir()]
        assert len(alive) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*ours, "made"])
