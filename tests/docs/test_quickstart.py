"""The two quickstarts, that of the README and that of docs/, run as they stand but for the model and the data."""

import re
import runpy

import pytest


def on_tiny_bert(code, csv):
    """The same script on a model with random weights and the reader's own file."""
    named = code.replace('"minilm"', '"tiny/bert"').replace('"movie_reviews"', repr(str(csv)))
    assert named.count("tiny/bert") == 1
    return named


def test_the_readme_quickstart_runs(blocks, reviews_csv, tmp_path, monkeypatch, capsys):
    (code,) = blocks("README.md", "python")
    monkeypatch.chdir(tmp_path)
    exec(compile(on_tiny_bert(code, reviews_csv), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "principal dimension" in printed
    assert (tmp_path / "study" / "checkpoints").is_dir()


def test_the_quickstart_runs(root, reviews_csv, tmp_path, monkeypatch, capsys):
    script = tmp_path / "quickstart.py"
    script.write_text(on_tiny_bert((root / "docs" / "quickstart.py").read_text(), reviews_csv))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))
    printed = capsys.readouterr().out
    # Two ways to one number: the row of the method's table, and the estimator.
    (in_table,) = re.findall(r"principal dimension exact +(\S+)", printed)
    (estimated,) = re.findall(r"alone: (\S+)", printed)
    assert float(in_table) == float(estimated)


@pytest.mark.slow
@pytest.mark.registry
def test_the_quickstart_prints_what_its_page_says(root, blocks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(root / "docs" / "quickstart.py"))
    promised, printed = (
        [re.findall(r"principal dimension exact +(\S+)", text) for text in texts]
        for texts in (blocks("docs/quickstart.md", "")[:1], [capsys.readouterr().out])
    )
    assert float(printed[0][0]) == pytest.approx(float(promised[0][0]), abs=0.05)
