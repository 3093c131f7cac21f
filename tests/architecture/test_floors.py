"""Imports go down only: every import of the library is read, and the one that goes up is named."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "dimscope"

FLOORS = {
    "core": 0,
    "numerics": 1,
    "store": 1,
    "models": 2,
    "data": 2,
    "report": 2,
    "activations": 3,
    "training": 3,
    "scoring": 3,
    "bench": 4,
    "callback": 4,
    "soundness": 4,
    "methods": 5,
    "discovery": 6,
    "running": 7,
    "study": 7,
    "prompt_study": 8,
    "recipes": 9,
    "sweep": 9,
    "cli": 10,
}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def place(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found.append((node.lineno, node.module or ""))
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    own = place(path)
    for line, name in imported(path):
        parts = name.split(".")
        if parts[0] != "dimscope" or len(parts) < 2 or parts[1] == own:
            continue
        other = parts[1]
        assert FLOORS[other] < FLOORS[own], (
            f"{path}:{line}: {own} (floor {FLOORS[own]}) imports {name}, which is not below"
        )


@pytest.mark.parametrize("path", [p for p in FILES if place(p) == "methods"], ids=lambda p: str(p.relative_to(ROOT)))
def test_methods_never_import_methods(path):
    others = [name for _, name in imported(path) if name.startswith("dimscope.methods")]
    assert others == []


@pytest.mark.parametrize("path", [p for p in FILES if place(p) == "core"], ids=lambda p: str(p.relative_to(ROOT)))
def test_the_core_knows_no_torch(path):
    assert not [name for _, name in imported(path) if name.split(".")[0] in ("torch", "transformers")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_hooks_are_registered_in_one_place(path):
    if path != ROOT / "activations" / "hooks.py":
        assert "register_forward" not in path.read_text()


def test_packages_re_export_nothing():
    assert [path for path in ROOT.rglob("__init__.py") if path.parent != ROOT and path.read_text().strip()] == []
