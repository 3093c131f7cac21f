import numpy as np
import pytest
import torch

from dimscope.bench import Bench
from dimscope.running import run
from dimscope.training import trial as trial_module
from dimscope.training.loop import DivergedError
from dimscope.training.settings import TrainingSettings
from dimscope.training.subspace import SubspaceSettings
from dimscope.training.trial import Trial, outcome, starting_network

NAME = "measure/some_search"


@pytest.fixture
def bench(tiny_folder, reviews, tmp_path):
    return Bench(str(tiny_folder("bert")), reviews, out=tmp_path)


def trial(subspace=None, epochs=4, **changed):
    training = TrainingSettings(learning_rate=2e-3, epochs=epochs, batch_size=8, precision="float32")
    return Trial(**{"training": training, "subspace": subspace, **changed})


def test_it_is_trained_once_and_leaves_no_checkpoint(bench, monkeypatch):
    first = outcome(NAME, trial(epochs=10), bench, 3)
    monkeypatch.setattr(trial_module, "train", lambda *_, **__: pytest.fail("trained again"))
    again = outcome(NAME, trial(epochs=10), bench, 3)
    assert first.value("accuracy") == again.value("accuracy") > 0.7
    assert first.arrays["epoch_accuracy"].values[-1] == first.value("accuracy")
    assert bench.store.checkpoints() == []
    assert [run.method for run in bench.store.runs()] == [f"{NAME}/trial"]
    where = dict(first.number("accuracy").where)
    assert (where["seed"], where["training"], where["labels"]) == (3, "full", "true")


@pytest.mark.parametrize(
    "other", [{"labels": "permuted"}, {"weights": "random"}, {"epochs": 3}, {"subspace": SubspaceSettings()}]
)
def test_another_trial_is_another_run(bench, other):
    outcome(NAME, trial(), bench, 1)
    outcome(NAME, trial(**other), bench, 1)
    assert len(bench.store.runs()) == 2


def test_a_finetune_of_the_same_settings_has_the_same_accuracies(bench):
    from_trial = outcome(NAME, trial(), bench, bench.seed)
    method = run("finetune/full", bench, learning_rate=2e-3, epochs=4, batch_size=8, precision="float32")
    np.testing.assert_array_equal(from_trial.arrays["epoch_accuracy"].values, method.arrays["epoch_accuracy"].values)


def test_a_hopeless_one_is_given_up_after_half_of_its_epochs(bench):
    given_up = outcome(NAME, trial(epochs=5, hopeless_below=1.01), bench, 1)
    assert (given_up.value("num_epochs"), given_up.value("is_stopped")) == (3, 1)
    whole = outcome(NAME, trial(epochs=5, hopeless_below=0.0), bench, 1)
    assert (whole.value("num_epochs"), whole.value("is_stopped")) == (5, 0)
    np.testing.assert_array_equal(given_up.arrays["epoch_accuracy"].values, whole.arrays["epoch_accuracy"].values[:3])


def test_one_whose_loss_is_lost_answers_nothing(bench, monkeypatch):
    def lost(*_, **__):
        raise DivergedError("lost")

    monkeypatch.setattr(trial_module, "train", lost)
    result = outcome(NAME, trial(), bench, 1)
    assert (result.value("accuracy"), result.value("is_diverged")) == (0, 1)


def test_permuted_labels_are_learned_by_heart_and_scored_on_the_training_data(bench, monkeypatch):
    given = {}
    train = trial_module.train

    def watched(network, data, *rest, **named):
        given["labels"] = data.labels
        return train(network, data, *rest, **named)

    monkeypatch.setattr(trial_module, "train", watched)
    result = outcome(NAME, trial(epochs=30, labels="permuted"), bench, 1)
    truth = bench.labels("train")
    assert not np.array_equal(given["labels"], truth)
    np.testing.assert_array_equal(np.bincount(given["labels"]), np.bincount(truth))
    assert 0.3 < (given["labels"] == truth).mean() < 0.7
    assert result.value("accuracy") > 0.8


def test_the_start_is_the_benchs_or_a_random_one(bench):
    pretrained, random = (starting_network(trial(weights=each), bench, 2) for each in ("pretrained", "random"))
    name = "bert.encoder.layer.0.output.dense.weight"
    own = bench.network.model.state_dict()[name]
    assert torch.equal(pretrained.model.state_dict()[name], own)
    assert not torch.equal(random.model.state_dict()[name], own)


def test_a_seed_draws_its_own_head(bench):
    heads = [starting_network(trial(), bench, seed).head.weight for seed in (1, 2)]
    assert not torch.equal(*heads)
    assert torch.equal(heads[0], bench.network.head.weight)
