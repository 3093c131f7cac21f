import numpy as np
import pytest
import torch

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.running import run
from dimscope.training.adapters import FILE, load_adapter, read_adapter

QUICK = {"epochs": 4, "learning_rate": 0.05, "batch_size": 8, "precision": "float32", "num_trained": 1000}


@pytest.fixture
def bench(tiny_folder, reviews, tmp_path):
    return Bench(str(tiny_folder("bert")), reviews, out=tmp_path)


def test_a_thousand_numbers_learn_what_can_be_learned(bench):
    result = run("finetune/random_subspace", bench, **{**QUICK, "epochs": 15})
    assert result.value("accuracy") > result.value("majority_accuracy") + 0.3
    assert result.value("last_loss") < result.value("first_loss")
    parameters = sum(parameter.numel() for parameter in bench.network.model.parameters())
    assert (result.value("num_trained"), result.value("num_trained_apart")) == (1000, 0)
    assert result.value("num_moved_parameters") == result.value("num_parameters") == parameters


def test_the_adapter_makes_the_checkpoint_out_of_the_base_to_the_last_bit(bench):
    result = run("finetune/random_subspace", bench, **QUICK, structure_aware=True)
    file = bench.store.checkpoint(result.checkpoint) / FILE
    assert any(f"{result.checkpoint}/{FILE}" in note for note in result.notes)
    network = bench.load()
    load_adapter(network, file)
    tuned = bench.finetuned(result.checkpoint).network.model.state_dict()
    assert all(torch.equal(tensor, tuned[name]) for name, tensor in network.model.state_dict().items())
    state = read_adapter(file).state
    assert state["z"].numel() + state["factors"].numel() == 1000
    assert result.value("num_factors") == state["factors"].numel() > 10


def test_the_distance_is_that_of_the_parameters(bench):
    result = run("finetune/random_subspace", bench, **QUICK)
    tuned = bench.finetuned(result.checkpoint).network.model.state_dict()
    base = bench.network.model.state_dict()
    squares = sum((tuned[name].double() - base[name].double()).square().sum() for name in base)
    assert result.value("distance") == pytest.approx(float(squares) ** 0.5, rel=1e-6)
    z = read_adapter(bench.store.checkpoint(result.checkpoint) / FILE).state["z"]
    assert result.value("distance") == pytest.approx(float(z.norm()), rel=1e-4)  # one_hot keeps lengths


def test_only_what_was_asked_for_moved(bench):
    result = run("finetune/random_subspace", bench, **QUICK, moved="attention")
    tuned = bench.finetuned(result.checkpoint).network.model.state_dict()
    changed = {
        name for name, tensor in bench.network.model.state_dict().items() if not torch.equal(tensor, tuned[name])
    }
    assert changed
    assert all("attention" in name or "classifier" in name for name in changed)
    assert result.value("num_moved_parameters") == sum(tuned[name].numel() for name in changed)


def test_a_head_apart_is_told(bench):
    result = run("finetune/random_subspace", bench, **QUICK, head="apart")
    assert result.value("num_trained_apart") == 2 * 32 + 2
    assert any("beside the subspace" in note for note in result.notes)


def test_the_best_epoch_is_kept(bench):
    result = run("finetune/random_subspace", bench, **QUICK, keep="best")
    by_epoch = result.arrays["epoch_accuracy"].values
    assert result.value("accuracy") == by_epoch.max()
    tuned = bench.finetuned(result.checkpoint)
    held_out = (tuned.logits("validation").argmax(axis=1) == bench.labels("validation")).mean()
    assert held_out == pytest.approx(by_epoch.max())


def test_two_runs_from_nothing_give_the_same_numbers(tiny_folder, reviews, tmp_path):
    results = [
        run("finetune/random_subspace", Bench(str(tiny_folder("bert")), reviews, out=tmp_path / name), **QUICK)
        for name in ("a", "b")
    ]
    np.testing.assert_array_equal(*(result.arrays["step_loss"].values for result in results))


def test_too_many_numbers_are_refused(bench):
    with pytest.raises(UserError, match="cannot be moved by 100,000,000 trained numbers"):
        run("finetune/random_subspace", bench, num_trained=10**8)
    assert bench.store.runs() == []
