import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import spearmanr

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.methods.build.prompt_model import PromptModel
from dimscope.methods.intervene.block_heads import BlockHeads
from dimscope.methods.intervene.force_attention import ForceAttention
from dimscope.methods.locate.head_forcing import HeadForcing
from dimscope.methods.locate.path_patching import PathPatching
from dimscope.recipes.circuit_reuse import SCRATCH, CircuitReuseStudy
from dimscope.running import run
from dimscope.scoring.circuits import Head
from dimscope.store.layout import Store

KNOWN, REUSING, OTHER = "prompts/indirect_objects", "prompts/colored_objects", "prompts/capitals"
LEARNED = "prompts/colored_objects/small"
SIZES = {"num_layers": 3, "num_heads": 2, "hidden_size": 32, "intermediate_size": 64}
NUM_KEPT = 3  # one more than a layer has heads, so that some are above the first layer
SMALL = {
    "limit": 10,
    "num_kept": NUM_KEPT,
    "num_forced": 2,
    "path": {"taken": "all"},  # a model that learned nothing has none right
    "force": {"num_draws": 2},
    "scratch": {"steps": 20, "batch_size": 16, **SIZES},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A decoder with random weights, to which every word of the prompts is a token."""
    bench = Bench("tiny/llama", KNOWN, limit=4, seed=3, out=tmp_path_factory.mktemp("model"))
    built = run(PromptModel(steps=0, **SIZES), bench)
    return str(bench.store.checkpoint(built.checkpoint))


@pytest.fixture(scope="module")
def study(tmp_path_factory, model, reproduced):
    out = tmp_path_factory.mktemp("study")
    recipe = CircuitReuseStudy(models=(model,), **SMALL)
    reproduced(recipe, out)
    return recipe, out, recipe.kept(out)


def bench_of(study, model, task):
    recipe, out, _ = study
    return Bench(model, task, seed=recipe.seed, limit=recipe.limit, out=out / "alone")


def strongest(shares, num):
    """The heads with the largest shares of either sign."""
    order = sorted(np.ndindex(shares.shape), key=lambda head: -abs(shares[head]))[:num]
    return [head for head in order if shares[head]]


def shares_of(study, model, task, stage):
    return study[2].arrays[f"{model} on {task}, circuit/stage {stage}"].values


def test_everything_that_people_read_is_written(study, model):
    _, out, _ = study
    assert {"runs", "checkpoints", "summary.json", "tables", "figures", "report.html", "report.md"} <= {
        path.name for path in out.iterdir()
    }
    assert {path.stem for path in (out / "tables").iterdir()} == {
        "verdicts",
        "accuracy",
        "heads",
        "overlap",
        "intervention",
        "attention",
        "each_forced",
        "blocking",
        "published",
    }
    assert (out / "figures" / "stage-2-small_model_trained_here-prompts_colored_objects_small.png").exists()
    assert (out / "figures" / "circuit-small_model_trained_here-prompts_indirect_objects.svg").exists()
    assert not re.search(r"\b(nan|None|num_\w+)\b", (out / "report.md").read_text())
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["schema"], summary["recipe"]) == (1, "circuit_reuse")
    assert {each["where"]["model"] for each in summary["numbers"]} == {model, SCRATCH}


def test_it_is_joined_with_a_study_of_another_model(study, assert_joins):
    assert_joins(*study)


def test_every_stage_ends_in_the_strongest_heads_of_the_one_before(study, model):
    """Followed by hand, with the method alone, in another folder."""
    bench = bench_of(study, model, REUSING)
    settings = {"taken": "all"}
    for stage, (inputs, token) in enumerate((("", "all"), ("q", "end"), ("kv", "all")), start=1):
        if stage > 1:
            above = strongest(shares_of(study, model, REUSING, stage - 1), NUM_KEPT)
            settings["receivers"] = tuple(f"{layer}.{head}.{part}" for layer, head in above for part in inputs)
        found = PathPatching(**settings, token=token).run(bench)
        np.testing.assert_allclose(shares_of(study, model, REUSING, stage), found.arrays["share"].values, atol=1e-6)


def test_keys_and_values_that_heads_share_are_named_by_their_group():
    bench = SimpleNamespace(network=SimpleNamespace(num_heads=9, num_kv_heads=3))
    heads = [Head(20, 7), Head(20, 8), Head(3, 0)]
    study = CircuitReuseStudy()
    assert study._paths("kv", heads, bench).receivers == ("20.2.k", "20.2.v", "3.0.k", "3.0.v")
    assert study._paths("q", heads, bench).receivers == ("20.7.q", "20.8.q", "3.0.q")
    assert (study._paths("q", heads, bench).token, study._paths("v", heads, bench).token) == ("end", "all")
    assert study._paths("logits", [], bench).receivers == ("logits",)


def test_an_edge_is_what_one_head_sends_to_one_other_alone(study, model):
    bench = bench_of(study, model, KNOWN)
    edges = [
        each for each in study[2].only(part="circuit", model=model, task=KNOWN).numbers if each.name == "edge_share"
    ]
    second = [each for each in edges if each.where["stage"] == 2]
    assert second
    for edge in second:
        alone = PathPatching(taken="all", receivers=(f"{edge.where['receiver']}.q",), token="end").run(bench)
        layer, head = map(int, edge.where["sender"].split("."))
        assert edge.value == pytest.approx(alone.arrays["share"].values[layer, head], abs=1e-6)


def test_the_overlap_is_that_of_the_two_rankings(study, model):
    found = study[2].only(part="overlap", model=model)
    assert {each.where["task"] for each in found.numbers} == {REUSING, OTHER}
    for task in (REUSING, OTHER):
        first, second = (shares_of(study, model, each, 1) for each in (KNOWN, task))
        for percent, num in ((1, 1), (10, 1)):  # of 6 heads
            shared = set(strongest(first, num)) & set(strongest(second, num))
            assert found.value("num_shared_heads", task=task, stage="1", percent=percent) == len(shared)


def test_the_first_tasks_heads_are_forced_in_the_second(study, model):
    first, second = (shares_of(study, model, KNOWN, stage) for stage in (1, 2))
    inhibiting = [head for head in strongest(second, NUM_KEPT) if second[head] > 0][:2]
    negative = [head for head in strongest(first, NUM_KEPT) if first[head] < 0][:1]
    both = inhibiting + [head for head in negative if head not in inhibiting]
    chosen = {"all": both, "inhibition heads": inhibiting, "negative mover": negative}
    for choice, heads in chosen.items():
        found = study[2].only(part="intervention", model=model, choice=choice)
        assert bool(found.numbers) == bool(heads)
        if heads:
            names = tuple(f"{layer}.{head}" for layer, head in heads)
            assert found.number("num_forced_heads").where["heads"] == " ".join(names)
            alone = ForceAttention(heads=names, num_draws=2).run(bench_of(study, model, REUSING))
            for forced in ("nothing", "chosen heads", "random heads"):
                where = {"forced": forced}
                assert found.value("mean_logit_difference", **where) == pytest.approx(
                    alone.value("mean_logit_difference", **where), abs=1e-6
                )


def test_what_forcing_a_head_does_is_ranked_with_what_it_carries_to_the_last_token(study, model):
    """Stages 1 and 2 end there; the keys and values of stage 3 do not."""
    effect = study[2].arrays[f"{model} on {REUSING}, each head forced/change"].values
    alone = HeadForcing(taken="all").run(bench_of(study, model, REUSING)).arrays["change"].values
    np.testing.assert_allclose(effect, alone, atol=1e-6)
    carried = np.max([np.abs(shares_of(study, model, KNOWN, stage)) for stage in (1, 2)], axis=0)
    found = study[2].only(part="each head forced", model=model)
    assert found.value("rank_correlation") == pytest.approx(spearmanr(carried, np.abs(effect), axis=None).statistic)
    assert found.value("num_correlated_heads") == carried.size


def test_the_heads_that_help_the_second_tasks_movers_are_blocked(study, model):
    second = shares_of(study, model, REUSING, 2)
    names = tuple("{}.{}".format(*head) for head in strongest(second, NUM_KEPT) if second[head] > 0)[:2]
    found = study[2].only(part="blocking", model=model)
    assert found.number("num_blocked_heads").where["heads"] == " ".join(names)
    alone = BlockHeads(heads=names, num_draws=2).run(bench_of(study, model, REUSING))
    for blocked in ("nothing", "chosen heads", "random heads"):
        assert found.value("mean_logit_difference", blocked=blocked) == pytest.approx(
            alone.value("mean_logit_difference", blocked=blocked), abs=1e-6
        )


def test_the_small_model_is_trained_on_both_tasks_and_asked_what_it_did_not_see(study):
    _, _, pooled = study
    training = pooled.only(part="training", model=SCRATCH)
    assert {each.where["task"] for each in training.numbers if each.name == "held_out_loss"} == {KNOWN, LEARNED}
    for task in (KNOWN, LEARNED):
        asked = training.value("accuracy", task=task, among="options")
        own = pooled.only(part="accuracy", model=SCRATCH, task=task)
        assert own.value("accuracy", text="prompt", among="options") == pytest.approx(asked)
    assert pooled.only(part="circuit", model=SCRATCH, task=OTHER).numbers == []


def test_a_finished_study_is_not_run_again(study):
    recipe, out, pooled = study
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/result.json") if "recipe" not in str(path)}
    (out / "report.html").unlink()
    recipe.reproduce(out)
    after = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/result.json") if "recipe" not in str(path)}
    assert after == before
    assert (out / "report.html").exists()
    again = recipe.kept(out)
    assert [repr(each.value) for each in again.numbers] == [repr(each.value) for each in pooled.numbers]
    assert Store(out).checkpoints()


def test_of_a_model_that_has_nothing_right_the_page_says_so(tmp_path, model):
    recipe = CircuitReuseStudy(models=(model,), limit=6, from_scratch=False, control_tasks=())
    recipe.reproduce(tmp_path)
    pooled = recipe.kept(tmp_path)
    assert any("has none of 6 prompts" in note for note in pooled.notes)
    assert not pooled.only(part="circuit").numbers
    assert "Shared heads: not measured." in (tmp_path / "report.md").read_text()


def test_what_is_asked_wrongly_is_refused(tmp_path):
    with pytest.raises(ValidationError, match=r"sets path\.receivers itself"):
        CircuitReuseStudy(path={"receivers": ("1.0.q",)})
    with pytest.raises(ValidationError, match=r"sets force\.heads itself"):
        CircuitReuseStudy(force={"heads": ("1.0",)})
    with pytest.raises(ValidationError, match="unknown prompts"):
        CircuitReuseStudy(tasks=(KNOWN, "movie_reviews"))
    with pytest.raises(ValidationError, match="at least 2"):
        CircuitReuseStudy(tasks=(KNOWN,))
    with pytest.raises(ValidationError, match="every set of prompts once"):
        CircuitReuseStudy(tasks=(KNOWN, OTHER))
    with pytest.raises(ValidationError, match="every model and set of prompts once"):
        CircuitReuseStudy(models=("smollm2", "smollm2"))
    with pytest.raises(UserError, match="not finished"):
        CircuitReuseStudy().report(tmp_path)
