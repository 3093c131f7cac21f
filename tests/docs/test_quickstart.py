"""The two quickstarts, that of the README and that of docs/, run as they stand but for the model and the data."""

import re
import runpy

import pytest


def on_tiny_bert(code, csv):
    """The same script on a model with random weights and the reader's own file."""
    named = code.replace('"minilm"', '"tiny/bert"').replace('"movie_reviews"', repr(str(csv)))
    assert named.count("tiny/bert") == 1
    return named


def one_dimension(printed):
    """The accuracy of the principal dimension, as the table has it."""
    (value,) = re.findall(r"principal dimension +exact +(\S+)", printed)
    return float(value)


def test_the_readme_quickstart_runs(blocks, reviews_csv, tmp_path, monkeypatch, capsys):
    (code,) = blocks("README.md", "python")
    monkeypatch.chdir(tmp_path)
    exec(compile(on_tiny_bert(code, reviews_csv), "README.md", "exec"), {})
    assert 0 < one_dimension(capsys.readouterr().out) <= 1
    assert (tmp_path / "study" / "checkpoints").is_dir()


def test_the_quickstart_runs(root, reviews_csv, tmp_path, monkeypatch, capsys):
    script = tmp_path / "quickstart.py"
    script.write_text(on_tiny_bert((root / "docs" / "quickstart.py").read_text(), reviews_csv))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))
    printed = capsys.readouterr().out
    # Two ways to one number: the row of the method's table, and the estimator.
    assert f"alone: {one_dimension(printed):.3f}" in printed


@pytest.mark.slow
@pytest.mark.registry
def test_the_quickstart_prints_what_its_page_says(root, blocks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(root / "docs" / "quickstart.py"))
    promised = blocks("docs/quickstart.md", "")[0]
    assert one_dimension(capsys.readouterr().out) == pytest.approx(one_dimension(promised), abs=0.05)
