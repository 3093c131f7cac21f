"""What happens around a command: it is logged, and a full disk or damaged files cost no more than doing that part again."""

from __future__ import annotations

import errno
import json
import os
from datetime import datetime
from pathlib import Path

import pytest
from safetensors import SafetensorError
from transformers import PreTrainedModel

from dimscope.store import files

TUNE = "run finetune/full --model tiny/bert --task reviews.csv --epochs 1 --out out"
MEASURE = "run measure/outlier_dimensions --model tiny/bert --task reviews.csv --out out"


def lines(folder: Path) -> list[str]:
    """Give the messages of the log, whose times must be readable and in order."""
    times, messages = zip(*(line.split(" ", 1) for line in (folder / "log.txt").read_text().splitlines()), strict=True)
    read = [datetime.fromisoformat(each) for each in times]
    assert read == sorted(read)
    assert all(each.tzinfo for each in read)
    return list(messages)


def numbers(folder: Path, method: str) -> list[dict]:
    (path,) = folder.glob(f"runs/{method}-*/result.json")
    return json.loads(path.read_text())["numbers"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_command_is_logged_with_its_words_messages_and_seconds(dimscope, folder):
    ran = dimscope(TUNE, folder)
    first, *said, last = lines(folder / "out")
    assert first.startswith(f"started: dimscope {TUNE} (dimscope ")
    assert "torch " in first
    assert said == ran.err.splitlines()
    assert said[0].startswith("epoch 1 of 1")
    assert last.startswith("done in ")


def test_a_mistake_is_logged_and_the_log_goes_on(dimscope, folder):
    ran = dimscope(f"{MEASURE} --sites finl", folder)
    dimscope(MEASURE, folder)
    messages = lines(folder / "out")
    assert len(messages) == 4
    assert messages[1].startswith("stopped after ")
    assert ran.err.removeprefix("dimscope: ").strip() in messages[1]
    assert messages[3].startswith("done in ")


def test_taking_states_is_logged(dimscope, folder):
    dimscope("states take --model tiny/bert --task reviews.csv --out out", folder)
    assert lines(folder / "out")[0].startswith("started: dimscope states take")


def test_a_loss_that_is_no_number_leaves_no_run_and_no_checkpoint(dimscope, folder):
    ran = dimscope(f"{TUNE} --learning-rate 1e30 --precision float32", folder)
    assert ran.code == 2
    assert "loss became" in lines(folder / "out")[-1]
    assert {path.name for path in (folder / "out").iterdir()} == {"log.txt"}


@pytest.mark.parametrize("full_after", [0, 3, 7, 9])
def test_a_full_disk_is_told_and_what_is_finished_is_kept(dimscope, folder, monkeypatch, full_after):
    dimscope(MEASURE, folder)
    before = numbers(folder / "out", "measure-outlier_dimensions")
    room = [full_after]
    sync = os.fsync

    def fill(descriptor: int) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fill)
        ran = dimscope(TUNE, folder)
    assert ran.code == 2
    assert "no space is left on the disk. Free some and run the same command again" in ran.err
    assert "no space is left" in lines(folder / "out")[-1]
    assert not list(folder.rglob(".tmp-*"))
    assert numbers(folder / "out", "measure-outlier_dimensions") == before
    assert dimscope(TUNE, folder).code == 0


@pytest.mark.parametrize(
    "told",
    [
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        Exception("No space left on device (os error 28)"),
    ],
    ids=["safetensors", "tokenizers"],
)
def test_a_full_disk_is_told_when_a_library_writes(dimscope, folder, monkeypatch, told):
    """What the two libraries were seen to raise on a full disk is no OSError."""

    def full(*arguments: object, **options: object) -> None:
        raise told

    with monkeypatch.context() as patch:
        patch.setattr(PreTrainedModel, "save_pretrained", full)
        ran = dimscope(TUNE, folder)
    assert ran.code == 2
    assert "no space is left on the disk" in ran.err
    assert not list((folder / "out" / "checkpoints").iterdir())


@pytest.mark.parametrize(
    "damaged", ["checkpoints/*/model.safetensors", "checkpoints/*/config.json", "checkpoints/*/dimscope.json"]
)
def test_a_damaged_checkpoint_is_made_again(dimscope, folder, damaged):
    first = dimscope(TUNE, folder)
    (path,) = (folder / "out").glob(damaged)
    whole = path.read_bytes()
    cut(path)
    assert dimscope(TUNE, folder).out == first.out
    assert path.read_bytes() == whole


def test_one_wrong_bit_in_a_checkpoint_is_seen(dimscope, folder):
    dimscope(TUNE, folder)
    (path,) = (folder / "out").glob("checkpoints/*/model.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    dimscope(TUNE, folder)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("part", ["result.json", "settings.json", "provenance.json", "arrays.safetensors"])
@pytest.mark.parametrize("damage", [cut, Path.unlink], ids=["cut", "gone"])
def test_a_damaged_run_is_done_again(dimscope, folder, part, damage):
    first = dimscope(MEASURE, folder)
    (path,) = (folder / "out").glob(f"runs/*/{part}")
    damage(path)
    assert dimscope(MEASURE, folder).out == first.out
    json.loads((path.parent / "result.json").read_text())
    assert path.is_file()


@pytest.mark.parametrize("part", ["manifest.json", "states-00000.safetensors"])
def test_damaged_states_are_taken_again(dimscope, folder, part):
    dimscope(MEASURE, folder)
    before = numbers(folder / "out", "measure-outlier_dimensions")
    (path,) = (folder / "out").glob(f"states/*/{part}")
    whole = path.read_bytes()
    cut(path)
    (run,) = (folder / "out").glob("runs/*/result.json")
    run.unlink()
    dimscope(MEASURE, folder)
    assert path.read_bytes() == whole
    assert numbers(folder / "out", "measure-outlier_dimensions") == before
