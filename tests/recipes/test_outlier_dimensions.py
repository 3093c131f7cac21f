import json

import numpy as np
import pandas as pd
import pytest

from dimscope.core.errors import UserError
from dimscope.recipes.outlier_dimensions import OutlierDimensionsStudy
from dimscope.store.layout import Store

SMALL = {
    "seeds": (1, 2),
    "finetune": {"epochs": 1, "learning_rate": 2e-3, "batch_size": 8, "precision": "float32"},
    "one_dimension": {"num_random_directions": 3, "num_label_permutations": 3, "num_permutations": 99},
    "ablation": {"num_draws": 2, "num_layer_draws": 1, "max_layer_sentences": 8},
}
PAPER = ("bert", "distilbert", "albert", "roberta", "gpt2", "pythia-70m", "pythia-160m", "pythia-410m")


@pytest.fixture(scope="module")
def study(tmp_path_factory, file):
    out = tmp_path_factory.mktemp("study")
    recipe = OutlierDimensionsStudy(models=("tiny/bert", "tiny/gpt2"), tasks=(str(file),), **SMALL)
    recipe.reproduce(out)
    return recipe, out


def test_everything_of_the_design_is_written(study):
    _, out = study
    assert {"runs", "checkpoints", "states", "summary.json", "tables", "figures", "report.html", "report.md"} <= {
        path.name for path in out.iterdir()
    }
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["schema"], summary["recipe"]) == (1, "outlier_dimensions")
    assert {number["where"]["model"] for number in summary["numbers"]} == {"tiny/bert", "tiny/gpt2"}
    # One training, three measures before and after it, persistence, ablation, editing and writers; per model and seed;
    # and the pooled one.
    assert len(list((out / "runs").iterdir())) == 4 * 11 + 1


def test_averages_are_those_of_the_runs(study):
    _, out = study
    frame = pd.DataFrame([{**n["where"], **n} for n in json.loads((out / "summary.json").read_text())["numbers"]])
    of = frame[(frame.name == "accuracy") & (frame.classifier == "principal dimension") & (frame.rule == "exact")]
    of = of[(of.weights == "fine-tuned") & (of.model == "tiny/bert")]
    seeds = of[of.statistic.isna()].value.to_numpy()
    assert len(seeds) == 2
    assert of[of.statistic == "mean"].value.item() == pytest.approx(seeds.mean())
    assert of[of.statistic == "standard deviation"].value.item() == pytest.approx(seeds.std(ddof=1))


def test_the_activation_diagram_is_that_of_states_averaged_over_seeds(study):
    recipe, out = study
    pooled = recipe.kept(out)
    (name,) = (name for name in pooled.arrays if name.startswith("tiny/bert") and name.endswith("/profile"))
    stored = [Store(out).load_states(about) for about in _about(out, "tiny/bert", "validation")]
    average = np.mean([each.numpy() for each in stored], axis=0)
    np.testing.assert_allclose(pooled.arrays[name].values[1][0], average.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(pooled.arrays[name].values[1][1], average.std(axis=0), rtol=1e-3, atol=1e-5)


def _about(out, model, split):
    manifests = (json.loads(path.read_text())["about"] for path in sorted(out.glob("states/*/manifest.json")))
    return [
        each for each in manifests if each["model"]["name"] == model and each["split"] == split and each["checkpoint"]
    ]


def test_the_same_words_run_nothing_again(study, monkeypatch):
    recipe, out = study
    before = (out / "summary.json").read_text()
    monkeypatch.setattr("dimscope.methods.finetune.full.train", lambda *_: pytest.fail("trained again"))
    recipe.reproduce(out)
    assert (out / "summary.json").read_text() == before


def test_the_page_is_written_again_from_what_is_stored(study):
    recipe, out = study
    before = (out / "report.html").read_text()
    (out / "report.html").unlink()
    recipe.report(out)
    assert (out / "report.html").read_text() == before


def test_an_unfinished_study_has_no_page(tmp_path):
    with pytest.raises(UserError, match="not finished"):
        OutlierDimensionsStudy().report(tmp_path)


@pytest.mark.parametrize("family", PAPER)
def test_every_family_of_the_paper_goes_through_the_study(family, file, tmp_path):
    recipe = OutlierDimensionsStudy(models=(f"tiny/{family}",), tasks=(str(file),), **{**SMALL, "seeds": (1,)})
    recipe.reproduce(tmp_path)
    assert (tmp_path / "report.html").exists()
    assert not pd.read_csv(tmp_path / "tables" / "one_dimension_fine-tuned.csv").empty
