"""Files and folders written whole or not at all: a temporary name beside the target, fsync, rename."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from dimscope.core.errors import UserError

# A shared disk is written by several machines, and whether a process lives can only be told on its own.
_MARK = f".tmp-{platform.node()}-"

_FULL = "no space is left on the disk. Free some and run the same command again; what is finished is kept"
_CLOSED = "writing is not allowed there. Choose another folder"
_TAKEN = "a file stands where a folder is needed. Choose another folder"
_CAUSES: dict[int | None, str] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _CLOSED,
    errno.EROFS: _CLOSED,
    errno.EEXIST: _TAKEN,
    errno.ENOTDIR: _TAKEN,
}


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, making its folder if need be.

    Raises:
        UserError: the disk is full or closed, or a file stands where a folder is needed; whatever stood at `path` is
            untouched.
    """
    temporary = _temporary(path)
    with telling_why(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON with sorted keys; what is not a number or infinite becomes null."""
    text = json.dumps(_strict(value), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, making it and its folder if need be.

    Raises:
        UserError: the disk is full or closed, or a file stands where a folder is needed.
    """
    with telling_why(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{line}\n")


@contextmanager
def new_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Give a temporary folder, which is renamed to `path` if the block ends well and removed if it does not.

    What stands at `path` by then stays and the new folder is dropped, unless it is to `replace` it; so two
    processes that make the same thing both end well.

    Raises:
        UserError: the disk is full or closed, or a file stands where a folder is needed.
    """
    temporary = _temporary(path)
    with telling_why(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        try:
            temporary.mkdir()
            yield temporary
            for each in [*temporary.rglob("*"), temporary]:
                _sync(each)
            _put(temporary, path, replace)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        _sync(path.parent)


@contextmanager
def telling_why(path: Path) -> Iterator[None]:
    """Within the block, whoever writes, a failure that the user can put right is told as such.

    Raises:
        UserError: the disk is full or closed, or a file stands where a folder is needed.
    """
    try:
        yield
    except Exception as error:
        cause = _CAUSES.get(_number(error))
        if cause is None:
            raise
        raise UserError(f"cannot write {getattr(error, 'filename', None) or path}: {cause}") from error


def sha256(path: Path) -> str:
    """Give the hash of a file's content: 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Remove what processes of this machine that are gone left unfinished."""
    for path in folder.glob(f"{_MARK}*"):
        process = path.name.removeprefix(_MARK).partition("-")[0]
        if process.isdecimal() and not _is_alive(int(process)):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{_MARK}{os.getpid()}-{uuid4().hex[:8]}-{path.name}")


def _put(folder: Path, path: Path, replace: bool) -> None:
    """Rename a folder. A full one cannot be renamed over, so that what stands there is moved aside first."""
    while True:
        try:
            folder.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not replace:
                return
            _remove(path)
        else:
            return


def _remove(folder: Path) -> None:
    """Remove a folder so that its name is free at once, or was freed by another process."""
    aside = _temporary(folder)
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return
    shutil.rmtree(aside)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(each) for each in value]
    if hasattr(value, "item"):
        return _strict(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _number(error: Exception) -> int | None:
    """Give the system's number of what went wrong; safetensors and tokenizers, written in Rust, put it into words."""
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None
