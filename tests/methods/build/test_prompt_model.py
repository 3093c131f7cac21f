import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.data.prompts.lessons import lessons
from dimscope.methods.build.prompt_model import prompt_tokenizer
from dimscope.running import run
from dimscope.training.checkpoints import is_intact

SMALL = {"num_layers": 1, "num_heads": 2, "hidden_size": 32, "intermediate_size": 64}
CAPITALS = {**SMALL, "steps": 500, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def bench_on(tiny_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("built")
    return lambda task, family="llama", limit=30, **more: Bench(
        str(tiny_folder(family)), task, limit=limit, out=more.pop("out", out), **more
    )


@pytest.fixture(scope="module")
def learned(bench_on):
    bench = bench_on("prompts/capitals")
    result = run("build/prompt_model", bench, **CAPITALS)
    return result, bench.store.checkpoint(result.checkpoint)


def test_capitals_are_told_in_sentences_not_seen_with_their_country(learned):
    result, _ = learned
    assert result.value("num_asked") == 82
    assert result.value("chance_accuracy", among="outputs") == pytest.approx(1 / len(prompt_tokenizer()))
    assert result.value("chance_accuracy", among="options") == 0.25
    assert result.value("accuracy", among="outputs") > 0.9
    assert result.value("answer_probability") > 0.8
    losses = result.arrays["step_loss"]
    assert losses.values.shape == (500, 1)
    assert losses.values[0] > 4 > 1 > losses.values[-10:].mean()


@pytest.mark.slow
def test_looking_up_what_is_asked_for_is_learned(bench_on):
    """Chance is a third, and nothing better can be done without looking up."""
    settings = {"num_layers": 2, "intermediate_size": 1, "steps": 600, "batch_size": 64, "learning_rate": 5e-3}
    result = run("build/prompt_model", bench_on("prompts/colored_objects/small", limit=200), **settings)
    assert result.value("accuracy", among="outputs") > 0.9
    losses = result.arrays["step_loss"].values
    assert losses[100:200].mean() > 1 > 0.3 > losses[-50:].mean()


def test_what_is_kept_answers_as_it_was_scored(learned):
    """transformers alone opens it, and reads each text by itself."""
    result, folder = learned
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    asked = lessons("prompts/capitals", tokenizer, 30, seed=1).asked
    logs = []
    for text, answer in zip(asked.texts, asked.answers, strict=True):
        with torch.inference_mode():
            logs.append(model(**tokenizer(text, return_tensors="pt")).logits[0, -1].log_softmax(-1)[answer].item())
    assert result.value("held_out_loss") == pytest.approx(-np.mean(logs), abs=1e-4)
    assert result.value("answer_probability") == pytest.approx(np.exp(logs).mean(), abs=1e-4)
    assert is_intact(folder)


def test_a_bench_opens_it_for_any_prompts_and_methods_look_into_it(learned, tmp_path):
    _, folder = learned
    opened = Bench(str(folder), "prompts/capitals", limit=20, out=tmp_path)
    assert opened.network.num_layers == 1
    assert run("measure/prompt_accuracy", opened).value("accuracy", text="prompt", among="outputs") > 0.9
    assert run("locate/path_patching", opened).arrays["share"].values.shape == (1, 2)
    assert len(Bench(str(folder), "prompts/colored_objects", limit=8, out=tmp_path).pairs) == 8


def test_noise_takes_its_share_of_the_confidence(learned, bench_on):
    noisy = run("build/prompt_model", bench_on("prompts/capitals"), **CAPITALS, label_noise=0.4)
    assert noisy.value("accuracy", among="outputs") > 0.9
    lost = learned[0].value("answer_probability") - noisy.value("answer_probability")
    assert lost == pytest.approx(0.4, abs=0.1)


def test_sets_are_trained_together_and_told_apart(bench_on):
    bench = bench_on("prompts/greater_than", family="gpt2")
    settings = {**SMALL, "steps": 40, "batch_size": 16, "learning_rate": 1e-2}
    result = run("build/prompt_model", bench, **settings, also=("prompts/induction", "prompts/greater_than"))
    assert list(result.arrays["step_loss"].ticks["task"]) == ["prompts/greater_than", "prompts/induction"]
    for task in result.arrays["step_loss"].ticks["task"]:
        assert result.value("num_asked", task=task) == 30
    # Digits follow years whatever the year is: that much is learned at once, and nothing of induction.
    assert result.value("held_out_loss", task="prompts/greater_than") < 3
    assert result.value("held_out_loss", task="prompts/induction") > 5


def test_a_bench_whose_model_cannot_write_the_prompts_can_name_a_run(bench_on):
    few, many = (bench_on("prompts/indirect_objects", limit=limit) for limit in (5, 6))
    with pytest.raises(UserError, match="single tokens"):
        _ = few.pairs
    assert few.spec["task"] != many.spec["task"]
    assert few.spec == bench_on("prompts/indirect_objects", limit=5).spec


def test_the_seed_makes_the_weights(bench_on, tmp_path):
    def trained(name, seed):
        bench = bench_on("prompts/indirect_objects", out=tmp_path / name, seed=seed)
        result = run("build/prompt_model", bench, **SMALL, steps=3, batch_size=8)
        return load_file(bench.store.checkpoint(result.checkpoint) / "model.safetensors")

    first, again, other = trained("first", 1), trained("again", 1), trained("other", 2)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not any(torch.equal(tensor, other[name]) for name, tensor in first.items() if tensor.ndim == 2)


@pytest.mark.parametrize("family", ["llama", "gpt2", "pythia-70m"])
def test_sizes_are_those_asked_for(family, bench_on):
    bench = bench_on("prompts/induction", family=family)
    result = run("build/prompt_model", bench, **SMALL, steps=0)
    model = AutoModelForCausalLM.from_pretrained(bench.store.checkpoint(result.checkpoint))
    shapes = {tuple(each.shape) for each in model.parameters()}
    assert {(32, 64), (64, 32)} <= shapes  # the MLP's
    assert (len(prompt_tokenizer()), 32) in shapes
    assert (model.config.num_hidden_layers, model.config.num_attention_heads) == (1, 2)
    assert result.arrays["step_loss"].values.shape == (0, 1)


def test_what_cannot_be_built_is_refused(bench_on, reviews):
    with pytest.raises(UserError, match="gemma cannot be built: name tiny/llama"):
        run("build/prompt_model", bench_on("prompts/induction", family="gemma"), steps=0)
    with pytest.raises(UserError, match="wanted prompts to train on, got the task 'reviews'"):
        run("build/prompt_model", bench_on(reviews, limit=None), steps=0)
    with pytest.raises(UserError, match="3 heads cannot share out 64 dims"):
        run("build/prompt_model", bench_on("prompts/induction"), num_heads=3)
    with pytest.raises(UserError, match="no such prompts: prompts/poems"):
        run("build/prompt_model", bench_on("prompts/induction"), also=("prompts/poems",))
    with pytest.raises(UserError, match="training loss became nan"):
        run("build/prompt_model", bench_on("prompts/induction"), **SMALL, steps=9, learning_rate=1e30)
