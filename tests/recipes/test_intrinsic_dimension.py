import json

import pandas as pd
import pytest
from pydantic import ValidationError

from dimscope.core.errors import UserError
from dimscope.methods.measure.intrinsic_dimension import IntrinsicDimension
from dimscope.recipes.intrinsic_dimension import IntrinsicDimensionStudy
from dimscope.store.layout import Store

SMALL = {
    "validation_fraction": 0.4,
    "d90": {
        "share": 0.4,  # so low that it surely passes
        "epochs": 2,
        "full_epochs": 2,
        "batch_size": 8,
        "precision": "float32",
        "full_learning_rates": (5e-3,),
        "learning_rates": (0.05,),
        "smallest": 300,
        "largest": 3000,
        "points_per_decade": 1,
        "bracket_ratio": 10,
        "num_seeds": 1,
    },
    "scratch_learning_rates": (5e-3,),
    "permuted_epochs": 2,
    "ways": {"lora": (1e-2,), "biases": (1e-2, 3e-2), "head": (), "last_layer": (3e-3,)},
    "pretraining_steps": (0, 10),
    "pretraining": {"num_layers": 1, "hidden_size": 32, "intermediate_size": 64, "precision": "float32"},
}
SEARCHES = ("plain", "structure-aware", "random weights", "permuted labels")


@pytest.fixture(scope="module")
def study(tmp_path_factory, file, reproduced):
    out = tmp_path_factory.mktemp("study")
    recipe = IntrinsicDimensionStudy(models=("tiny/bert",), tasks=(str(file),), **SMALL)
    reproduced(recipe, out)
    return recipe, out, recipe.kept(out)


def test_everything_that_people_read_is_written(study):
    _, out, _ = study
    assert {"runs", "checkpoints", "summary.json", "tables", "figures", "report.html", "report.md"} <= {
        path.name for path in out.iterdir()
    }
    assert {path.stem for path in (out / "tables").iterdir()} == {
        "verdicts",
        "d_curve-tiny_bert-reviews",
        "d90",
        "brackets",
        "pretraining-reviews",
        "bound",
        "ways",
    }
    assert (out / "figures" / "d_curve-tiny_bert-reviews.png").exists()
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["schema"], summary["recipe"]) == (1, "intrinsic_dimension")


def test_it_is_joined_with_a_study_of_another_model(study, assert_joins):
    assert_joins(*study)


def test_every_search_is_that_of_the_measure_alone(study):
    _, out, pooled = study
    asked = {"structure-aware": {"structure_aware": True}, "random weights": {"weights": "random"}}
    for name in SEARCHES:
        found = pooled.only(part=name)
        run = next(run for run in Store(out).runs() if _is_of(run, name))
        assert found.value("smallest_passing") == pytest.approx(run.value("smallest_passing"), nan_ok=True)
        assert found.value("accuracy", training="full") == run.value("accuracy", training="full")
        assert run.settings | asked.get(name, {}) == run.settings


def _is_of(run, name):
    of = run.settings
    told = {
        "plain": not of.get("structure_aware") and of.get("weights") == "pretrained" and of.get("labels") == "true",
        "structure-aware": of.get("structure_aware"),
        "random weights": of.get("weights") == "random",
        "permuted labels": of.get("labels") == "permuted",
    }
    is_whole = run.method == IntrinsicDimension.name() and of["smallest"] < of["largest"]
    return is_whole and told[name] and "step-" not in run.bench["model"]["name"]


def test_the_factors_of_the_modules_come_on_top(study):
    _, _, pooled = study
    tried = [
        each.where["num_trained"] for each in pooled.only(part="structure-aware").numbers if "num_trained" in each.where
    ]
    # Three tables and a norm; in each of two blocks four maps, a norm, two maps and a norm; the pooler; the classifier.
    assert min(tried) == 300 + 3 + 1 + 2 * 8 + 2


def test_the_bound_is_of_the_model_that_passed(study):
    _, _, pooled = study
    plain, bound = pooled.only(part="plain"), pooled.only(part="bound")
    d = int(plain.value("smallest_passing"))
    assert bound.value("num_trained") == d
    # The search kept numbers alone, and the model that is bounded was trained anew: it must be the same one.
    trial = next(
        run
        for run in _trials(study[1])
        if run.settings["subspace"] and run.settings["subspace"]["num_trained"] == d and _is_plain_trial(run)
    )
    assert 1 - bound.value("validation_error", bits=32) == pytest.approx(trial.value("accuracy"))


def _trials(out):
    return [run for run in Store(out).runs() if run.method.endswith("/trial")]


def _is_plain_trial(run):
    of = run.settings
    return (
        (of["weights"], of["labels"], of["subspace"]["structure_aware"]) == ("pretrained", "true", False)
        and run.bench["seed"] == 1
        and "step-" not in run.bench["model"]["name"]
    )


def test_each_way_stands_beside_a_subspace_of_as_many_numbers(study):
    _, out, pooled = study
    by_way = {"lora": 2 * 4 * (32 + 32) + 66, "last_layer": None, "biases": None}
    for way, num_trained in by_way.items():
        found = pooled.only(part=f"as many as {way}")
        own, subspace = (found.number("accuracy", training=training) for training in (way, "subspace"))
        assert own.where["num_trained"] == subspace.where["num_trained"]
        assert num_trained in (None, own.where["num_trained"])
    runs = [run for run in Store(out).runs() if run.settings.get("trained") == "biases"]
    assert len(runs) == 2
    best = max(run.value("accuracy") for run in runs)
    assert pooled.only(part="as many as biases").value("accuracy", training="biases") == best
    assert not pooled.only(part="as many as head").numbers


def test_the_small_encoder_is_searched_from_each_step(study):
    _, out, pooled = study
    series = pooled.only(part="small encoder")
    assert {each.where["model"] for each in series.numbers} == {"bert 1x32"}
    for step in (0, 10):
        assert series.value("accuracy", step=step, training="full") > 0
        assert series.value("masked_loss", step=step) > 0
    assert str(out) not in (out / "summary.json").read_text()


def test_the_page_judges_each_claim(study):
    _, out, _ = study
    (row,) = pd.read_csv(out / "tables" / "verdicts.csv").to_dict("records")
    assert len(row) == 2 + 7
    assert set(list(row.values())[2:]) <= {"holds", "does not hold", "cannot be told", "not measured"}
    assert "not measured" not in row.values()
    assert len(pd.read_csv(out / "tables" / "d90.csv")) == 1 + 8


def test_the_same_words_train_nothing_again(study, monkeypatch):
    recipe, out, _ = study
    before = (out / "summary.json").read_text(), (out / "report.md").read_text()
    for name in (
        "training.trial",
        "methods.finetune.full",
        "methods.finetune.lora",
        "methods.finetune.random_subspace",
    ):
        monkeypatch.setattr(f"dimscope.{name}.train", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr("dimscope.methods.build.pretrain.pretrain", lambda *_: pytest.fail("pretrained again"))
    recipe.reproduce(out)
    after = (out / "summary.json").read_text(), (out / "report.md").read_text()
    assert _without_times(after) == _without_times(before)


def _without_times(written):
    summary, page = written
    return summary, [line for line in page.splitlines() if not line.startswith(("- finished", "- time"))]


def test_what_cannot_be_measured_is_said_and_the_rest_is_measured(file, tmp_path):
    # All layers of ALBERT are one block, so the last cannot be trained alone; and 8 numbers cannot pay for its modules.
    small = {
        **SMALL,
        "d90": {**SMALL["d90"], "smallest": 4, "largest": 8, "num_seeds": 2, "epochs": 1, "full_epochs": 1},
        "beside": ("structure-aware", "bound"),
        "ways": {"lora": (), "biases": (), "head": (1e-2,), "last_layer": (3e-3,)},
        "pretraining_steps": (),
    }
    recipe = IntrinsicDimensionStudy(models=("tiny/albert",), tasks=(str(file),), **small)
    recipe.reproduce(tmp_path)
    pooled = recipe.kept(tmp_path)
    runs = [run for run in Store(tmp_path).runs() if run.settings.get("trained") == "head"]
    mean = sum(run.value("accuracy") for run in runs) / 2
    assert pooled.only(part="as many as head").value("accuracy", training="head") == pytest.approx(mean)
    assert not pooled.only(part="as many as last_layer").numbers
    assert not pooled.only(part="structure-aware").numbers
    assert not pooled.only(part="random weights").numbers
    hindered = {note.split(": not measured")[0] for note in pooled.notes if ": not measured" in note}
    assert {f"tiny/albert on reviews, {name}" for name in ("structure-aware", "as many as last_layer")} <= hindered
    assert not any("random weights" in note or "permuted labels" in note for note in hindered)
    (row,) = pd.read_csv(tmp_path / "tables" / "verdicts.csv").to_dict("records")
    assert row["Fewer with factors of the modules"] == row["Fewer the longer pretrained"] == "not measured"
    assert row["Random weights need more"] == row["Permuted labels need more"] == "not measured"


def test_an_unfinished_study_has_no_page(tmp_path):
    with pytest.raises(UserError, match="not finished"):
        IntrinsicDimensionStudy().report(tmp_path)


@pytest.mark.parametrize(
    "changed", [{"d90": {"labels": "permuted"}}, {"d90": {"structure_aware": True}}, {"pretraining": {"steps": 7}}]
)
def test_what_the_study_sets_itself_is_refused(changed):
    with pytest.raises(ValidationError, match="the study sets"):
        IntrinsicDimensionStudy(**changed)
