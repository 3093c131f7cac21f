"""The page followed literally: its three files are put into a copy of the tree, found, tested and run."""

import os
import re
import shutil
import subprocess
import sys

import pytest

FILE = re.compile(
    r"\*\*`(?P<path>[\w/.]+)`\*\*\n\n(?P<fence>`{3,})\w+\n(?P<text>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL
)
COPIED = ("src", "tests/conftest.py", "tests/methods/test_contract.py", "tests/architecture", "docs", "pyproject.toml")


@pytest.fixture(scope="module")
def tree(root, tmp_path_factory):
    """A copy of the tree with the page's files in it."""
    copy = tmp_path_factory.mktemp("tree")
    for name in COPIED:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        take = shutil.copytree if (root / name).is_dir() else shutil.copy
        take(root / name, copy / name)
    files = {each["path"]: each["text"] for each in FILE.finditer((root / "docs/add_a_method.md").read_text())}
    assert [path.split("/")[0] for path in files] == ["src", "tests", "docs"]
    for path, text in files.items():
        assert not (copy / path).exists(), "the page's example must be a method that is not there"
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(text)
    return copy


def python(tree, *words):
    ran = subprocess.run(
        [sys.executable, *words],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_it_is_found_and_runs(tree, reviews_csv):
    assert "measure/anisotropy" in python(tree, "-m", "dimscope.cli.main", "list", "methods")
    words = ("--model", "tiny/bert", "--task", str(reviews_csv), "--split", "validation", "--out", "study")
    assert "mean_cosine" in python(tree, "-m", "dimscope.cli.main", "run", "measure/anisotropy", *words)


def test_its_tests_pass_and_the_contract_holds(tree):
    of_the_page = ("tests/methods/measure/test_anisotropy.py", "src/dimscope/methods/measure/anisotropy.py")
    found = ("tests/methods/test_contract.py", "tests/architecture")
    passed = python(tree, "-m", "pytest", "-p", "no:cacheprovider", *of_the_page, *found, "-k", "anisotropy")
    num_passed = int(re.search(r"(\d+) passed", passed)[1])
    assert num_passed >= 3 + 1 + 4 + 3  # its own tests, its doctest, the contract, the floors


def test_its_code_is_in_the_house_style(tree):
    python(tree, "-m", "ruff", "check", "src/dimscope/methods/measure/anisotropy.py", "tests/methods/measure")
    python(
        tree, "-m", "ruff", "format", "--check", "src/dimscope/methods/measure/anisotropy.py", "tests/methods/measure"
    )
