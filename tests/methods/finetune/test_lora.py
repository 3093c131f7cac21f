import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dimscope.bench import Bench
from dimscope.running import run

peft = pytest.importorskip("peft")

QUICK = {"epochs": 10, "learning_rate": 1e-2, "batch_size": 8, "precision": "float32", "rank": 4}


@pytest.fixture
def bench(tiny_folder, reviews, tmp_path):
    return Bench(str(tiny_folder("bert")), reviews, out=tmp_path)


def test_it_learns_what_can_be_learned(bench):
    result = run("finetune/lora", bench, **{**QUICK, "epochs": 30, "targets": "all"})
    assert result.value("accuracy") > result.value("majority_accuracy") + 0.3
    assert result.value("last_loss") < result.value("first_loss")


def test_only_the_targets_and_the_head_moved_and_they_are_counted(bench):
    result = run("finetune/lora", bench, **{**QUICK, "targets": "*query*", "epochs": 1})
    tuned = bench.finetuned(result.checkpoint).network.model.state_dict()
    base = bench.network.model.state_dict()
    changed = {name for name, tensor in base.items() if not torch.equal(tensor, tuned[name])}
    queries = {name for name in base if name.endswith("query.weight")}
    assert changed == queries | {"classifier.weight", "classifier.bias"}
    assert result.value("num_trained") == 2 * 4 * (32 + 32) + 66
    assert result.value("num_trained_head") == 66
    for name in queries:
        assert torch.linalg.matrix_rank(tuned[name] - base[name], rtol=1e-3) <= 4


def test_the_checkpoint_is_what_peft_makes_of_base_and_adapter(bench):
    """transformers alone opens the one, peft the other."""
    result = run("finetune/lora", bench, **{**QUICK, "epochs": 2})
    folder = bench.store.checkpoint(result.checkpoint)
    merged = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    adapted = peft.PeftModel.from_pretrained(bench.load().model, folder / "adapter").eval()
    with torch.inference_mode():
        for text in bench.task.validation.texts[:10]:
            inputs = tokenizer(text, return_tensors="pt")
            torch.testing.assert_close(merged(**inputs).logits, adapted(**inputs).logits, atol=1e-5, rtol=1e-5)
    assert any(f"{result.checkpoint}/adapter" in note for note in result.notes)


def test_the_head_can_be_left_alone(bench):
    result = run("finetune/lora", bench, **{**QUICK, "head": "frozen", "epochs": 1})
    tuned = bench.finetuned(result.checkpoint).network.model.state_dict()
    assert torch.equal(tuned["classifier.weight"], bench.network.model.state_dict()["classifier.weight"])
    assert result.value("num_trained_head") == 0
    assert result.value("num_trained") == 8 * 4 * (32 + 32)


def test_the_best_epoch_is_kept(bench):
    result = run("finetune/lora", bench, **QUICK, keep="best")
    by_epoch = result.arrays["epoch_accuracy"].values
    assert result.value("accuracy") == by_epoch.max()
    tuned = bench.finetuned(result.checkpoint)
    assert (tuned.logits("validation").argmax(axis=1) == bench.labels("validation")).mean() == pytest.approx(
        by_epoch.max()
    )


def test_two_runs_from_nothing_give_the_same_numbers(tiny_folder, reviews, tmp_path):
    results = [
        run("finetune/lora", Bench(str(tiny_folder("bert")), reviews, out=tmp_path / name), **{**QUICK, "epochs": 2})
        for name in ("a", "b")
    ]
    np.testing.assert_array_equal(*(result.arrays["step_loss"].values for result in results))
