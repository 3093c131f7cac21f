"""Every command end to end: results on standard output, messages on standard error, exit code 0."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from dimscope.discovery import methods, recipes
from dimscope.store.states import open_states

RUN = "run measure/outlier_dimensions --task reviews.csv --out out"


@pytest.fixture(scope="module")
def finished(dimscope, study, write_reviews, tmp_path_factory):
    """Give a folder in which a study was run, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    write_reviews(folder / "reviews.csv")
    return folder, dimscope(f"{study} --out study", folder)


def test_run_prints_its_numbers(dimscope, folder):
    ran = dimscope(f"{RUN} --model tiny/gpt2 --limit 30", folder)
    assert ran.code == 0
    assert "model tiny/gpt2 · seed 1 · task reviews · weights pretrained" in ran.out
    (stored,) = (folder / "out" / "runs").iterdir()
    numbers = {each["name"]: each["value"] for each in json.loads((stored / "result.json").read_text())["numbers"]}
    shown = dict(line.split()[2:4] for line in ran.out.splitlines() if line.startswith("final"))
    assert shown["num_outlier_dims"] == f"{numbers['num_outlier_dims']:.0f}"
    assert shown["principal_dim"] == f"{numbers['principal_dim']:.0f}"


def test_fine_tuning_then_a_measure_of_its_checkpoint(dimscope, folder):
    tuned = dimscope("run finetune/full --model tiny/bert --task reviews.csv --out out", folder)
    assert tuned.code == 0
    assert "epoch 2 of 2: held-out accuracy" in tuned.err
    checkpoint = tuned.out.split("Checkpoint: ")[1].strip()
    measured = dimscope(f"{RUN} --model tiny/bert --checkpoint {checkpoint}", folder)
    assert "weights fine-tuned" in measured.out


def test_the_same_words_open_the_finished_run(dimscope, folder):
    first = dimscope(f"{RUN} --model tiny/bert", folder)
    result = next((folder / "out" / "runs").glob("*/result.json"))
    written = result.stat().st_mtime_ns
    assert dimscope(f"{RUN} --model tiny/bert", folder).out == first.out
    assert result.stat().st_mtime_ns == written


def test_a_study_writes_all_that_people_read(finished):
    folder, ran = finished
    assert ran.code == 0
    assert ran.out == ""
    assert "The page: study/report.html" in ran.err
    names = {path.name for path in (folder / "study").iterdir()}
    assert names >= {"study.json", "log.txt", "summary.json", "tables", "report.html", "runs", "checkpoints", "states"}
    summary = json.loads((folder / "study" / "summary.json").read_text())
    assert (summary["schema"], summary["recipe"]) == (1, "outlier_dimensions")
    assert {each["where"].get("seed") for each in summary["numbers"]} == {1, 2, "all"}


def test_a_study_tells_beforehand_what_it_will_cost(finished):
    _, ran = finished
    first = ran.err.splitlines()[0]
    assert first.startswith("Ahead: 22 runs on 60 sentences, 0.0 million parameters; about a minute and 0 MB.")


def test_piped_messages_are_whole_lines_without_bars(finished):
    _, ran = finished
    assert "\x1b" not in ran.err
    assert "" not in ran.err.splitlines()
    assert any(line.startswith("tiny/bert on reviews:") and line.endswith(".") for line in ran.err.splitlines())


def test_a_study_is_continued_by_the_same_words(dimscope, study, finished):
    folder, _ = finished
    summary = folder / "study" / "summary.json"
    results = {path: path.stat().st_mtime_ns for path in folder.glob("study/runs/measure-*/result.json")}
    before = summary.read_text()
    assert dimscope(f"{study} --out study", folder).code == 0
    assert summary.read_text() == before
    assert {path: path.stat().st_mtime_ns for path in results} == results


def test_report_writes_the_page_again(dimscope, finished):
    folder, _ = finished
    page = folder / "study" / "report.html"
    before = page.read_text()
    page.unlink()
    ran = dimscope("report study", folder)
    assert ran.code == 0
    assert "The page: study/report.html" in ran.err
    assert page.read_text() == before


def test_query_answers_as_csv(dimscope, finished):
    folder, _ = finished
    ran = dimscope("query study \"SELECT count(*) AS n FROM numbers WHERE method = 'finetune/full'\"", folder)
    stored = [json.loads(path.read_text()) for path in folder.glob("study/runs/finetune-*/result.json")]
    assert ran.out == f"n\n{sum(len(each['numbers']) for each in stored)}\n"


@pytest.mark.parametrize(
    ("format", "read"), [("csv", pd.read_csv), ("xlsx", pd.read_excel), ("parquet", pd.read_parquet)]
)
def test_export_writes_a_file_for_each_value(dimscope, finished, tmp_path, format, read):
    if format == "xlsx":
        pytest.importorskip("openpyxl")
    folder, _ = finished
    ran = dimscope(f"export study --by weights --format {format} --to {tmp_path}", folder)
    assert ran.out.split() == [str(tmp_path / f"{weights}.{format}") for weights in ("fine-tuned", "pretrained")]
    assert set(read(tmp_path / f"fine-tuned.{format}")["weights"]) == {"fine-tuned"}


def test_states_are_taken_shown_and_averaged(dimscope, folder):
    taken = [dimscope(f"states take --model tiny/bert --task reviews.csv --out {name}", folder) for name in "ab"]
    folders = [each.out.strip() for each in taken]
    shown = dimscope(f"states show {folders[0]}", folder)
    assert "7 sentences x 32 dims, float32, intact: True" in shown.out
    averaged = dimscope(f"states average {' '.join(folders)} --to mean", folder)
    assert averaged.out == "mean\n"
    states = open_states(folder / "mean").numpy()
    assert (states == open_states(folder / folders[0]).numpy()).all()


def test_get_fetches_a_tiny_model(dimscope, tmp_path):
    ran = dimscope("get tiny/gpt2", tmp_path)
    assert (ran.code, ran.out) == (0, "")
    place = Path(ran.err.removeprefix("tiny/gpt2: ").strip())
    assert (place / "model.safetensors").is_file()


def test_list_names_all(dimscope, tmp_path):
    listed = dimscope("list", tmp_path)
    assert listed.err == ""
    assert all(name in listed.out for name in [*methods(), *recipes(), "minilm", "movie_reviews"])
    assert "minilm" not in dimscope("list methods", tmp_path).out


HELPS = [
    *("", "run", "reproduce", "states", "states take", "states average", "states show"),
    *("list", "get", "check", "report", "query", "export"),
    *(f"run {name}" for name in methods()),
    *(f"reproduce {name}" for name in recipes()),
]


@pytest.mark.parametrize("words", HELPS)
def test_help(dimscope, tmp_path, words):
    ran = dimscope(f"{words} --help", tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert f"Usage: dimscope {words}".strip() in ran.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["--help"], ["list", "methods"], ["list"], ["run"], ["reproduce", "--help"]])
def test_what_only_tells_imports_nothing_heavy(words):
    script = (
        "import sys; from dimscope.cli.main import main\n"
        f"sys.argv = ['dimscope', *{words!r}]\n"
        "main()\n"
        "print('HEAVY', *sorted({'torch', 'transformers', 'numba', 'pandas', 'sklearn', 'accelerate'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "HEAVY"
