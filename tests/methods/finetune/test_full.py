import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.running import run
from dimscope.training import checkpoints, loop

QUICK = {"epochs": 6, "learning_rate": 5e-3, "batch_size": 8, "precision": "float32"}


@pytest.fixture
def bench(tiny_folder, reviews, tmp_path):
    return Bench(str(tiny_folder("bert")), reviews, out=tmp_path)


def test_it_learns_what_can_be_learned(bench):
    result = run("finetune/full", bench, **QUICK)
    assert result.value("accuracy") > result.value("majority_accuracy") + 0.3
    assert result.value("last_loss") < result.value("first_loss")
    assert result.value("num_steps") == 48
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
