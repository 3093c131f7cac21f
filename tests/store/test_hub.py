from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants, snapshot_download

from dimscope.core.errors import UserError
from dimscope.store import hub
from dimscope.store.hub import Unreached, snapshot

COMMIT = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"
CONTENT = {"config.json": b"{}", "model.safetensors": b"weights", "model.bin": b"pickle", "onnx/config.json": b"{}"}
FILE = "/{repo_id}/resolve/{revision}/{filename}"
WANTED = ("model", ("*.safetensors", "config.json"), ("*/*",))


class Repository(BaseHTTPRequestHandler):
    """The hub's part in a download: what the newest commit is, which files it has, and each of them."""

    def log_message(self, *words: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/owner/name/resolve/"):
            name = path.split("/", 5)[5]
            self._answer(200, CONTENT[name], {"ETag": f'"{len(name)}"', "X-Repo-Commit": COMMIT})
        elif path.startswith("/api/models/owner/name/tree/"):
            files = [{"type": "file", "path": p, "size": len(b), "oid": str(len(p))} for p, b in CONTENT.items()]
            self._answer(200, json.dumps(files).encode())
        elif path.startswith("/api/models/owner/name"):
            about = {"id": "owner/name", "sha": COMMIT, "siblings": [{"rfilename": name} for name in CONTENT]}
            self._answer(200, json.dumps(about).encode())
        else:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Repository) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Ask a hub at an address, with a cache of one's own, as a new process would."""
    monkeypatch.setattr(hub, "_PATIENCE_S", 0.5)

    def call(address: str, name: str = "owner/name") -> Path:
        snapshot.cache_clear()
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + FILE)
        monkeypatch.setattr(hub, "snapshot_download", partial(snapshot_download, cache_dir=tmp_path))
        return snapshot(name, *WANTED)

    return call


def test_only_the_wanted_files_are_fetched_of_the_newest_commit(ask, address: str):
    folder = ask(address)
    assert folder.name == COMMIT
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: CONTENT[name] for name in ("config.json", "model.safetensors")
    }


@pytest.mark.parametrize("fault", ["silent", "closes", "error", "page", "stalls"])
def test_a_hub_that_does_not_answer_is_told(ask, faulty_server, fault: str):
    with pytest.raises(Unreached):
        ask(faulty_server(fault))


@pytest.mark.parametrize("fault", ["silent", "closes", "error", "page", "stalls"])
def test_where_the_hub_does_not_answer_the_copy_is_taken(ask, address: str, faulty_server, fault: str):
    first = ask(address)
    assert ask(faulty_server(fault)) == first


def test_a_process_asks_once(ask, address: str, monkeypatch: pytest.MonkeyPatch):
    folder = ask(address)
    monkeypatch.setattr(hub, "get_session", lambda: pytest.fail("the hub was asked again"))
    assert snapshot("owner/name", *WANTED) == folder


@pytest.mark.parametrize("name", ["owner/nobody", "own--er/name"])
def test_a_repository_that_is_none_is_told(ask, address: str, name: str):
    with pytest.raises(UserError, match=f"no public model '{name}'.*Check the spelling"):
        ask(address, name)
