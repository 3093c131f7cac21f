"""The callback in the Trainer's own loop, against trainings without it and against checkpoints opened anew."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator, DistributedType
from accelerate.state import PartialState
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

import dimscope
from dimscope.callback import SHARE, OutlierCallback, interval, open_network, undisturbed
from dimscope.core.errors import UserError
from dimscope.models.catalogue import ModelSource
from dimscope.models.load import load
from dimscope.store.layout import Store


@pytest.fixture(autouse=True)
def accelerator():
    """What every Trainer makes first; a test that has none must not depend on those that ran before."""
    return Accelerator(cpu=True)


@pytest.fixture
def trained(tiny_folder, reviews, tmp_path):
    """Train a tiny classifier on the planted reviews, and give the Trainer and its losses."""

    def train(*callbacks, family="bert", num_labels=2, **changed):
        network = load(ModelSource(family, "folder", str(tiny_folder(family))), num_labels=num_labels, seed=3)
        texts, labels = reviews.train.texts, reviews.train.labels.tolist()
        rows = [{**network.tokenizer(text), "labels": label} for text, label in zip(texts, labels, strict=True)]
        words = {
            "output_dir": str(tmp_path / "trainer"),
            "per_device_train_batch_size": 8,
            "max_steps": 9,
            "learning_rate": 3e-3,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
            "seed": 5,
        }
        trainer = Trainer(
            network.model,
            TrainingArguments(**{**words, **changed}),
            train_dataset=rows,
            processing_class=network.tokenizer,
            callbacks=list(callbacks),
        )
        trainer.train()
        return trainer, [each["loss"] for each in trainer.state.log_history if "loss" in each]

    return train


def callback_on(reviews, **words):
    return OutlierCallback(reviews.validation.texts, reviews.validation.labels, **words)


def weights(trainer):
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def alone(folder, tokenizer, texts):
    """Every sentence by itself, without padding, by transformers alone: the first token's last state, and the logits."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        seen = [model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True) for text in texts]
    return (
        np.stack([each.hidden_states[-1][0, 0].numpy() for each in seen]),
        np.stack([each.logits[0].numpy() for each in seen]),
    )


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_the_training_is_bit_for_bit_the_same(trained, reviews, family):
    without, losses = trained(family=family)
    followed, same = trained(callback_on(reviews, every=1), family=family)
    assert same == losses
    assert len(losses) == 9
    for name, tensor in weights(followed).items():
        assert torch.equal(tensor, weights(without)[name])


@pytest.mark.parametrize("precision", [{}, {"bf16": True}])
def test_the_numbers_of_a_step_are_those_of_its_checkpoint(trained, reviews, tmp_path, precision):
    callback = callback_on(reviews, every=4)
    trainer, _ = trained(callback, save_strategy="steps", save_steps=4, **precision)
    result = callback.result
    assert result.arrays["step"].values.tolist() == [0, 4, 8, 9]
    learned, held_out = callback._splits
    tokenizer = trainer.processing_class
    seen = [alone(tmp_path / "trainer" / "checkpoint-4", tokenizer, half.texts) for half in (learned, held_out)]
    (learned_states, _), (states, logits) = seen
    variance = np.concatenate([learned_states, states]).astype(np.float64).var(axis=0)
    np.testing.assert_allclose(result.arrays["variance"].values[1], variance, rtol=1e-3)
    rho = int(variance.argmax())
    assert result.value("principal_dim", step=4) == rho
    assert result.value("principal_variance_ratio", step=4) == pytest.approx(variance[rho] / variance.mean(), rel=1e-3)
    assert result.value("num_outlier_dims", step=4) == (variance >= 5 * variance.mean()).sum()
    assert result.value("accuracy", step=4, classifier="full model") == (logits.argmax(1) == held_out.labels).mean()
    majority = np.bincount(learned.labels).argmax()
    assert result.value("accuracy", step=4, classifier="majority class") == (held_out.labels == majority).mean()
    assert result.value("accuracy", step=4, classifier="principal dimension") == by_brute_force(
        learned_states[:, rho], learned.labels, states[:, rho], held_out.labels
    )


@pytest.mark.slow
def test_two_processes_follow_one_training(tiny_folder, tmp_path):
    """Only the main one measures and writes, and what it finds is what the weights say when they are opened alone."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    script = Path(__file__).with_name("followed_by_two.py")
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    subprocess.run([*command, script, tmp_path, tiny_folder("bert")], check=True, env=environment, timeout=170)
    assert {path.name for path in tmp_path.iterdir()} >= {"process0", "saved"}
    assert not (tmp_path / "process1").exists()
    assert (tmp_path / "process0" / "report.html").exists()
    (result,) = Store(tmp_path / "process0").runs()
    assert result.arrays["step"].values.tolist() == [0, 2, 4, 5]
    texts = ["a good film", "bad", "so very very bad a film", "good good", "not bad", "the film is good and sad"]
    for place, folder in ((0, tiny_folder("bert")), (3, tmp_path / "saved")):
        states, _ = alone(folder, AutoTokenizer.from_pretrained(folder), texts)  # of which the sample has four each
        variance = states.astype(np.float64).var(axis=0)
        np.testing.assert_allclose(result.arrays["variance"].values[place], variance, rtol=1e-3, atol=1e-9)


def by_brute_force(values, labels, held_out_values, held_out_labels):
    """Try every cut halfway between two neighbors, in both directions; the lowest of the best counts."""
    ordered = np.unique(values)
    cuts = [-np.inf, *((ordered[1:] + ordered[:-1]) / 2)]
    rules = [(cut, above) for cut in cuts for above in (1, 0)]
    cut, above = max(rules, key=lambda rule: ((values > rule[0]) == (labels == rule[1])).sum())
    return ((held_out_values > cut) == (held_out_labels == above)).mean()


def test_the_trajectory_follows_what_is_learned(trained, reviews):
    callback = callback_on(reviews, every=20)
    trained(callback, max_steps=60, learning_rate=1e-2)
    full_model = [callback.result.value("accuracy", step=step, classifier="full model") for step in (0, 60)]
    assert full_model[0] < 0.8
    assert full_model[1] > 0.95
    is_outlier = callback.result.arrays["is_outlier"].values
    counts = [callback.result.value("num_outlier_dims", step=step) for step in (0, 20, 40, 60)]
    assert is_outlier.sum(axis=1).tolist() == counts


def test_a_lower_factor_has_more_outliers(trained, reviews):
    callback = callback_on(reviews, every=9, factor=1.0)
    trained(callback)
    variance = callback.result.arrays["variance"].values
    expected = variance >= variance.mean(axis=1, keepdims=True)
    np.testing.assert_array_equal(callback.result.arrays["is_outlier"].values, expected)


def test_all_is_left_as_it_was(tiny_network):
    model = tiny_network("bert").model
    model.train()
    frozen = model.base_model.embeddings.eval()
    try:
        before, numbers = [module.training for module in model.modules()], torch.get_rng_state()
        with suppress(ZeroDivisionError), undisturbed(model):
            assert not any(module.training for module in model.modules())
            torch.rand(3)
            raise ZeroDivisionError
        assert [module.training for module in model.modules()] == before
        assert not frozen.training
        assert torch.equal(torch.get_rng_state(), numbers)
    finally:
        model.eval()


def test_no_hook_stays_and_the_model_trains_on(trained, reviews):
    trainer, _ = trained(callback_on(reviews, every=1))
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in trainer.model.modules())
    assert all(module.training for module in trainer.model.modules())


def test_the_interval_keeps_to_its_share():
    for cost, step_time in [(1.0, 0.25), (3.7, 0.011), (0.2, 1.3), (1e-4, 2.0)]:
        steps = interval(cost, step_time)
        assert cost <= SHARE * steps * step_time * (1 + 1e-9)
        assert steps == 1 or cost > SHARE * (steps - 1) * step_time


def test_auto_waits_as_long_as_its_clock_says(trained, reviews, monkeypatch):
    """A clock that only a training step (1 s) and a measurement (0.1 s) move: so every fifth step is due."""
    now = [0.0]
    monkeypatch.setattr("dimscope.callback.time.perf_counter", lambda: now[0])

    class Ticking(OutlierCallback):
        def on_step_end(self, *args, **given):
            now[0] += 1.0
            super().on_step_end(*args, **given)

    def slow(*args):
        now[0] += 0.1
        return measured(*args)

    measured = dimscope.callback.snapshot
    monkeypatch.setattr("dimscope.callback.snapshot", slow)
    callback = Ticking(reviews.validation.texts, reviews.validation.labels)
    trained(callback, max_steps=12)
    assert callback.result.arrays["step"].values.tolist() == [0, 5, 10, 12]


def test_run_and_page_are_written(trained, reviews, tmp_path):
    callback = callback_on(reviews, every=4, out=tmp_path / "out")
    trained(callback)
    (stored,) = Store(tmp_path / "out").runs()
    assert list(stored.numbers) == list(callback.result.numbers)
    np.testing.assert_array_equal(stored.arrays["variance"].values, callback.result.arrays["variance"].values)
    html = (tmp_path / "out" / "report.html").read_text()
    assert "Step 0" in html
    assert "Step 9" in html
    assert f"ρ is dimension {callback.result.value('principal_dim', step=9):.0f}" in html
    specs = [json.loads(part.partition("</script>")[0]) for part in html.split('<script type="application/json">')[1:]]
    ratio = [callback.result.value("principal_variance_ratio", step=step) for step in (0, 4, 8, 9)]
    drawn = [row["value"] for spec in specs for rows in spec["datasets"].values() for row in rows]
    assert set(ratio) <= set(drawn)
    assert {number.value for number in callback.result.numbers if number.name == "accuracy"} <= set(drawn)


def test_pairs_are_read_as_pairs(trained, reviews):
    texts = [(text, "it was very good") for text in reviews.validation.texts]
    callback = OutlierCallback(texts, reviews.validation.labels, every=9)
    trainer, _ = trained(callback)
    first = callback._splits[0]
    ids = trainer.processing_class(first.texts[0], first.pairs[0])["input_ids"]
    np.testing.assert_array_equal(callback._training._halves[0][0].ids[0], ids)


def test_a_training_that_diverged_goes_on_with_a_note(trained, reviews):
    callback = callback_on(reviews, every=1)
    trained(callback, max_steps=3, learning_rate=float("inf"))
    assert callback.result.arrays["step"].values.tolist() == [0]
    assert "Step 3 could not be measured" in callback.result.notes[-1]


def test_what_wraps_the_model_is_taken_off(tiny_network):
    network = tiny_network("bert")
    wrapped = torch.nn.DataParallel(network.model)
    assert open_network(wrapped, network.tokenizer).model is network.model


def test_another_process_than_the_main_one_does_nothing(trained, reviews):
    class Elsewhere(OutlierCallback):
        def on_train_begin(self, args, state, control, **given):
            state.is_world_process_zero = False
            super().on_train_begin(args, state, control, **given)

    callback = Elsewhere(reviews.validation.texts, reviews.validation.labels, every=1)
    trained(callback, max_steps=2)
    with pytest.raises(UserError, match="main process"):
        _ = callback.result


@pytest.mark.parametrize(
    ("texts", "labels", "words", "message"),
    [
        (["a", "b", "c", "d"], [0, 1, 0, 1], {"every": 0}, "every: wanted 'auto'"),
        (["a", "b", "c", "d"], [0, 1, 0, 1], {"every": "often"}, "every: wanted 'auto'"),
        (["a", "b", "c"], [0, 1], {}, "the class of each of 3 texts"),
        (["a", "b"], ["good", "bad"], {}, "the class of each of 2 texts"),
        (["a", "b"], [0.5, 1.0], {}, "the class of each of 2 texts"),
        (["a", "b"], [-1, 1], {}, "the class of each of 2 texts"),
        (["a", ("b", "c")], [0, 1], {}, "sentences, or pairs"),
        ([], [], {}, "sentences, or pairs"),
        (["a", "b", "c"], [0, 0, 1], {}, "a single sentence"),
        (["a", "b", "c", "d"], [0, 1, 0, 1], {"max_sentences": 1}, "a limit of 1 is too small"),
    ],
)
def test_mistakes_are_told_before_the_training(texts, labels, words, message):
    with pytest.raises(UserError, match=message):
        dimscope.OutlierCallback(texts, labels, **words)


def test_labels_must_be_the_models(trained):
    callback = OutlierCallback(["a", "b"] * 4, [0, 7] * 4)
    with pytest.raises(UserError, match="classes of the model, which has 2; got 7"):
        trained(callback)


def test_weights_that_are_spread_over_processes_are_refused(tiny_network, monkeypatch):
    monkeypatch.setitem(vars(PartialState()), "distributed_type", DistributedType.FSDP)
    network = tiny_network("bert")
    with pytest.raises(UserError, match="one process must hold them all"):
        open_network(network.model, network.tokenizer)


def test_a_tokenizer_is_wanted(tiny_network):
    with pytest.raises(UserError, match="processing_class=tokenizer"):
        open_network(tiny_network("bert").model, None)
    with pytest.raises(UserError, match="wanted a model of transformers, got Linear"):
        open_network(torch.nn.Linear(2, 2), tiny_network("bert").tokenizer)
