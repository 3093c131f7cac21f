import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.methods.finetune.full import FullFineTuning
from dimscope.running import run
from dimscope.training import checkpoints, loop

QUICK = {"epochs": 6, "learning_rate": 5e-3, "batch_size": 8, "precision": "float32"}


@pytest.fixture
def bench(tiny_folder, reviews, tmp_path):
    return Bench(str(tiny_folder("bert")), reviews, out=tmp_path)


def test_it_learns_what_can_be_learned(bench):
    result = run("finetune/full", bench, **{**QUICK, "epochs": 10, "learning_rate": 2e-3})
    assert result.value("accuracy") > result.value("majority_accuracy") + 0.3
    assert result.value("last_loss") < result.value("first_loss")
    assert result.value("num_steps") == 80
    assert dict(result.number("accuracy").where)["weights"] == "fine-tuned"


def test_the_checkpoint_opens_with_transformers_alone_and_gives_the_same_logits(bench):
    tuned = bench.finetuned(run("finetune/full", bench, **QUICK).checkpoint)
    folder = tuned.store.checkpoint(tuned.checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = [
            model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in bench.task.validation.texts
        ]
    np.testing.assert_allclose(np.stack(logits), tuned.logits("validation"), rtol=1e-3, atol=1e-4)
    assert model.config.id2label == {0: "bad", 1: "good"}


PARTS = {
    "head": (["classifier."], 32 * 2 + 2),
    "last_layer": (["classifier.", "bert.encoder.layer.1."], 4 * (32 * 32 + 32) + 2 * 32 * 64 + 64 + 32 + 4 * 32 + 66),
    "*layer.0.attention.self.query.weight": (["classifier.", "bert.encoder.layer.0.attention.self.query.weight"], 1090),
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("trained", PARTS)
def test_only_what_is_trained_moves_and_it_is_counted(trained, precision, bench):
    beginnings, num_trained = PARTS[trained]
    result = run("finetune/full", bench, **{**QUICK, "trained": trained, "precision": precision, "epochs": 2})
    expected = {name for name in bench.network.model.state_dict() if name.startswith(tuple(beginnings))}
    assert changed_names(bench, result) == expected
    assert result.value("num_trained") == num_trained


def test_biases_are_those_of_every_map_and_norm(bench):
    result = run("finetune/full", bench, **{**QUICK, "trained": "biases", "epochs": 1})
    names = bench.network.model.state_dict()
    expected = {name for name in names if name.endswith(".bias") and "bert." in name}
    assert changed_names(bench, result) == expected | {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_written_out_pass_trains_a_part_as_the_modules_do(bench, precision, monkeypatch):
    """What is frozen needs no gradient, and the trained part must get the same one by both ways."""
    settings = {**QUICK, "epochs": 2, "learning_rate": 1e-3, "precision": precision}
    monkeypatch.setattr(loop, "has_direct_pass", lambda network: not by_modules)
    load = bench.load
    monkeypatch.setattr(bench, "load", lambda: without_dropout(load()))
    for trained in ("biases", "last_layer", "head", "*query.weight"):
        by_modules = False
        direct = FullFineTuning(**settings, trained=trained).run(bench)
        by_modules = True
        plain = FullFineTuning(**settings, trained=trained).run(bench)
        losses = (result.arrays["step_loss"].values for result in (direct, plain))
        np.testing.assert_allclose(*losses, rtol=1e-4 if precision == "float32" else 0.03)


def test_a_part_that_is_none_is_refused(bench):
    with pytest.raises(UserError, match=r"no parameter is called 'heads': wanted all, "):
        run("finetune/full", bench, trained="heads")


def changed_names(bench, result):
    tuned = bench.finetuned(result.checkpoint).network.model.state_dict()
    base = bench.network.model.state_dict()
    return {name for name, tensor in base.items() if not torch.equal(tensor, tuned[name])}


def without_dropout(network):
    for part in network.model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return network


def test_the_same_words_train_once(bench, monkeypatch):
    first = run("finetune/full", bench, **QUICK)
    monkeypatch.setattr("dimscope.methods.finetune.full.train", lambda *_: pytest.fail("trained again"))
    again = run("finetune/full", bench, **QUICK)
    assert again.checkpoint == first.checkpoint
    assert [each.value for each in again.numbers] == [each.value for each in first.numbers]


def test_two_runs_from_nothing_give_the_same_numbers(tiny_folder, reviews, tmp_path):
    results = [
        run("finetune/full", Bench(str(tiny_folder("bert")), reviews, out=tmp_path / name), **QUICK)
        for name in ("a", "b")
    ]
    np.testing.assert_array_equal(*(result.arrays["step_loss"].values for result in results))


def test_another_seed_is_another_training(tiny_folder, reviews, tmp_path):
    results = [
        run("finetune/full", Bench(str(tiny_folder("bert")), reviews, seed=seed, out=tmp_path), **QUICK)
        for seed in (1, 2)
    ]
    assert not np.array_equal(*(result.arrays["step_loss"].values for result in results))


def test_the_best_epoch_is_kept_and_told_to_be_chosen(bench):
    result = run("finetune/full", bench, keep="best", **QUICK)
    by_epoch = result.arrays["epoch_accuracy"].values
    assert result.value("accuracy") == by_epoch.max()
    assert result.value("kept_epoch") == by_epoch.argmax() + 1
    tuned = bench.finetuned(result.checkpoint)
    held_out = (tuned.logits("validation").argmax(axis=1) == bench.labels("validation")).mean()
    assert held_out == pytest.approx(by_epoch.max())
    assert any("chosen by validation accuracy" in note for note in result.notes)


def test_the_last_good_epoch_is_kept_when_the_loss_is_lost(bench, monkeypatch):
    step, steps = loop._Trainer.step, []

    def diverges_in_the_third_epoch(self, parts):
        steps.append(step(self, parts))
        if len(steps) <= 16:
            return steps[-1]
        with torch.no_grad():
            self._parameters[0].fill_(float("nan"))
        return float("nan")

    monkeypatch.setattr(loop._Trainer, "step", diverges_in_the_third_epoch)
    with pytest.raises(
        UserError, match=r"became nan at step 17 .*after epoch 2 are kept as the checkpoint (\w+-epoch-2)"
    ) as caught:
        run("finetune/full", bench, **QUICK)
    tuned = bench.finetuned(str(caught.value).rpartition(" ")[2].rstrip("."))
    assert np.isfinite(tuned.logits("validation")).all()
    assert bench.store.runs() == []


def test_a_checkpoint_that_does_not_reopen_equal_does_not_count(bench, monkeypatch):
    monkeypatch.setattr(checkpoints, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(RuntimeError, match="gives other logits"):
        run("finetune/full", bench, **QUICK)
    assert bench.store.runs() == []
    assert list((bench.store.root / "checkpoints").iterdir()) == []


@pytest.mark.registry
@pytest.mark.slow
def test_minilm_reaches_080_on_held_out_reviews(tmp_path):
    result = run("finetune/full", Bench("minilm", "movie_reviews", out=tmp_path))
    assert result.value("accuracy") >= 0.80
    assert result.value("majority_accuracy") < 0.52
