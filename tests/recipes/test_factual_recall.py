import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.methods.build.prompt_model import PromptModel
from dimscope.recipes.factual_recall import FactualRecallStudy
from dimscope.running import run
from dimscope.store.layout import Store

TASK, LIMIT = "prompts/capitals", 16
TRAINING = {
    "steps": 160,
    "batch_size": 64,
    "learning_rate": 2e-3,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_size": 64,
    "intermediate_size": 64,
}
SMALL = {
    "num_movers": 2,
    "limit": LIMIT,
    "last_layer": {"num_resamples": 99},
    "reweighting": {"num_scrambled": 2},
    "mitigation": {"doses": (0.5, 1.0), "num_controls": 1},
    "scratch": TRAINING,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory, reproduced):
    """A study of a model that knows capitals, and that is the small one without noise, so that it is trained once."""
    out = tmp_path_factory.mktemp("study")
    bench = Bench("tiny/llama", TASK, limit=LIMIT, out=out)
    known = str(Store(out).checkpoint(run(PromptModel(**TRAINING), bench).checkpoint))
    recipe = FactualRecallStudy(models=(known,), tasks=(TASK,), **SMALL)
    reproduced(recipe, out)
    return recipe, out, recipe.kept(out)


def of(pooled, name, model="trained here, 0% noise"):
    return pooled.only(piece=name, model=model)


def runs(out, method):
    return [each for each in Store(out).runs() if each.method == method]


def test_everything_that_people_read_is_written(study):
    _, out, _ = study
    assert {"runs", "checkpoints", "summary.json", "tables", "figures", "report.html", "report.md"} <= {
        path.name for path in out.iterdir()
    }
    names = {path.stem for path in (out / "tables").iterdir()}
    assert {"verdicts", "accuracy", "heads", "last_layer", "mitigation", "published"} <= names
    for name in ("heads", "reweighting", "last_layer", "mitigation"):
        assert (out / "figures" / f"{name}-trained_here_30_noise-prompts_capitals.png").exists()
    assert (out / "figures" / "probability-trained_here_30_noise.png").exists()
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["schema"], summary["recipe"]) == (1, "factual_recall")


def test_it_is_joined_with_a_study_of_another_model(study, assert_joins):
    assert_joins(*study)


def test_the_model_without_noise_is_that_which_was_trained_already(study):
    recipe, out, pooled = study
    assert len(runs(out, "build/prompt_model")) == 2
    own = pooled.only(piece="last layer", model=recipe.models[0])
    clean = of(pooled, "last layer")
    noisy = of(pooled, "last layer", "trained here, 30% noise")
    change = {"name": "probability_change", "output": "answer"}
    assert clean.value(**change) == own.value(**change)
    assert clean.value(**change) != noisy.value(**change)
    assert noisy.value("mean_probability", layer=1) < clean.value("mean_probability", layer=1)


def test_the_heads_that_send_most_are_looked_at_further(study):
    _, _, pooled = study
    movers, share = (
        of(pooled, "movers"),
        pooled.arrays["trained here, 0% noise on prompts/capitals, movers/share"].values,
    )
    carried = movers.number("carried_fraction")
    order = np.argsort(-np.abs(share), axis=None)[:2]
    assert carried.where["heads"] == ", ".join(f"{place // 2}.{place % 2}" for place in order)
    assert carried.value == pytest.approx(np.abs(share).ravel()[order].sum() / np.abs(share).sum())
    assert movers.value("even_fraction") == 0.5
    weighed = {each.where["head"] for each in of(pooled, "reweighting").numbers if each.name == "weight"}
    assert weighed <= set(carried.where["heads"].split(", "))


def test_the_part_that_takes_most_is_made_smaller_on_other_prompts(study):
    _, out, pooled = study
    shares = [
        each
        for each in of(pooled, "last layer, all prompts").numbers
        if each.name == "mean_log_probability_share"
        and each.where["part"] not in ("all heads", "attention bias", "norm's scale")
    ]
    lowest = min(shares, key=lambda each: each.value)
    named = {"MLP": "1.mlp", "head 0": "1.0", "head 1": "1.1"}[lowest.where["part"]]
    mitigation = of(pooled, "mitigation")
    assert mitigation.value("responsible_share", scaled=named) == lowest.value
    assert mitigation.value("accuracy_change", scaled=named, dose=1.0) <= 1
    assert {each.bench["seed"] for each in runs(out, "intervene/scale_component")} == {2}


def test_no_path_of_this_machine_stands_in_what_is_told_of_models_trained_here(study):
    _, _, pooled = study
    trained = {each.where["model"] for each in pooled.numbers if "trained" in str(each.where["model"])}
    assert trained == {"trained here, 0% noise", "trained here, 30% noise"}


def test_the_page_judges_each_claim(study):
    _, out, _ = study
    rows = pd.read_csv(out / "tables" / "verdicts.csv").set_index("model")
    assert len(rows) == 4
    assert rows.shape[1] == 1 + 7
    told = rows.drop(columns="task").to_numpy().ravel()
    assert set(told[~pd.isna(told)]) <= {"holds", "does not hold", "cannot be told", "not measured"}
    assert "not measured" not in told
    assert not pd.isna(rows.loc["trained here, both", "Noise in the data is the cause"])


def test_the_same_words_compute_nothing_again(study, monkeypatch):
    recipe, out, _ = study
    before = (out / "summary.json").read_text()
    for name in ("build.prompt_model.PromptModel", "locate.path_patching.PathPatching", "measure.last_layer.LastLayer"):
        monkeypatch.setattr(f"dimscope.methods.{name}.run", lambda *_: pytest.fail("ran again"))
    recipe.reproduce(out)
    assert (out / "summary.json").read_text() == before


def test_what_cannot_be_measured_is_said_and_the_rest_is_measured(tmp_path):
    # A random model has none of the prompts right.
    settings = {**SMALL, "tasks": ("prompts/induction",), "from_scratch": False}
    recipe = FactualRecallStudy(models=("tiny/llama",), **settings)
    recipe.reproduce(tmp_path)
    pooled = recipe.kept(tmp_path)
    by_name = partial(of, pooled, model="tiny/llama")
    assert by_name("accuracy").numbers
    assert by_name("last layer, all prompts").numbers
    assert by_name("mitigation").numbers
    assert not by_name("movers").numbers
    assert not by_name("last layer").numbers
    assert any("not measured: 'tiny/llama' has none of 16 prompts" in note for note in pooled.notes)
    (row,) = pd.read_csv(tmp_path / "tables" / "verdicts.csv").to_dict("records")
    assert set(list(row.values())[2:]) == {"not measured"}


def test_an_unfinished_study_has_no_page(tmp_path):
    with pytest.raises(UserError, match="not finished"):
        FactualRecallStudy().report(tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        {"mitigation": {"parts": ("0.mlp",)}},
        {"reweighting": {"heads": ("0.1",)}},
        {"last_layer": {"taken": "all"}},
        {"scratch": {"label_noise": 0.1}},
        {"path": {"receivers": ("1.mlp",)}},
    ],
)
def test_what_the_study_sets_itself_is_refused(changed):
    with pytest.raises(ValidationError, match="the study sets"):
        FactualRecallStudy(**changed)


def test_sentences_with_classes_are_refused():
    with pytest.raises(ValidationError, match="unknown prompts 'movie_reviews'"):
        FactualRecallStudy(tasks=("movie_reviews",))
