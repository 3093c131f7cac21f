import math

import numpy as np
import pytest
import torch

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.models.load import load
from dimscope.numerics.compression_bound import best_bound, error_bound
from dimscope.running import run
from dimscope.training.adapters import FILE, load_adapter, read_adapter
from dimscope.training.subspace import Subspace

QUICK = {"epochs": 15, "learning_rate": 0.05, "batch_size": 8, "precision": "float32", "num_trained": 300}


@pytest.fixture(scope="module")
def bench(tiny_folder, reviews, tmp_path_factory):
    return Bench(str(tiny_folder("bert")), reviews, out=tmp_path_factory.mktemp("bounds"))


@pytest.fixture(scope="module")
def train(bench):
    return lambda **settings: bench.finetuned(run("finetune/random_subspace", bench, **QUICK, **settings).checkpoint)


@pytest.mark.parametrize("structure_aware", [False, True])
def test_the_errors_are_those_of_the_model_with_rounded_numbers(structure_aware, bench, train):
    """The oracle rounds by hand, moves a base of its own, and asks it about each sentence alone."""
    tuned = train(structure_aware=structure_aware)
    result = run("measure/compression_bound", tuned, num_bits=(1, 3))
    file = bench.store.checkpoint(tuned.checkpoint) / FILE
    state = read_adapter(file).state
    trained = torch.cat([state["z"], state["factors"] - 1]).double()
    largest = trained.abs().max()
    for num_bits in (1, 3):
        grid = largest * torch.tensor([(2 * part + 1) / 2**num_bits - 1 for part in range(2**num_bits)])
        rounded = grid[(trained[:, None] - grid).abs().argmin(dim=1)].float()
        network = load(bench.source, num_labels=2, seed=bench.seed)
        subspace = opened(network, file)
        subspace.set_state({"z": rounded[: len(state["z"])], "factors": rounded[len(state["z"]) :] + 1})
        for split in ("train", "validation"):
            assert result.value(f"{split}_error", bits=num_bits) == error_alone(network, bench.task.split(split))


def test_as_trained_it_is_the_checkpoint(bench, train):
    tuned = train()
    result = run("measure/compression_bound", tuned)
    errors = {
        split: (tuned.logits(split).argmax(axis=1) != tuned.labels(split)).mean() for split in ("train", "validation")
    }
    assert result.value("train_error", bits=32) == pytest.approx(errors["train"])
    assert result.value("validation_error", bits=32) == pytest.approx(errors["validation"])
    assert result.value("gap") == pytest.approx(errors["validation"] - errors["train"])
    accuracy = {split: 1 - error for split, error in errors.items()}
    relative = (accuracy["train"] - accuracy["validation"]) / (1 - accuracy["validation"])
    assert result.value("relative_gap") == pytest.approx(relative)
    assert result.value("majority_error") == 0.5


def test_the_bound_is_that_of_the_training_error(train):
    result = run("measure/compression_bound", train(), num_bits=(2, 4, 8), confidence=0.9)
    errors = {bits: result.value("train_error", bits=bits) for bits in (2, 4, 8)}
    for bits, error in errors.items():
        by_hand = error + math.sqrt(((300 * bits + 32) * math.log(2) + math.log(10)) / (2 * 64))
        assert result.value("error_bound", bits=bits) == pytest.approx(by_hand)
    best, bound = best_bound(errors, 300, 64, confidence=0.9)
    assert (result.value("best_num_bits"), result.value("best_error_bound")) == (best, pytest.approx(bound))
    assert result.value("is_vacuous") == 1  # 300 numbers, 64 sentences
    assert (result.value("num_trained"), result.value("num_samples")) == (300, 64)


def test_few_numbers_and_many_sentences_are_not_vacuous():
    assert error_bound(0.3, 10 * 2 + 32, 1000) < 0.5


def test_the_base_of_another_seed_is_found(bench, train, tmp_path):
    """An adapter brings its seed, from which its base's head was drawn."""
    folder = str(bench.store.checkpoint(train().checkpoint))
    other = Bench(bench.source.location, bench.task, seed=7, out=tmp_path, checkpoint=folder)
    expected = run("measure/compression_bound", train())
    found = run("measure/compression_bound", other)
    assert [each.value for each in found.numbers] == [each.value for each in expected.numbers]


def test_what_has_no_adapter_is_refused(bench, train):
    with pytest.raises(UserError, match=r"wanted a checkpoint of finetune/random_subspace"):
        run("measure/compression_bound", bench)
    full = run("finetune/full", bench, epochs=1, precision="float32")
    with pytest.raises(UserError, match=r"there is no adapter .*: finetune/random_subspace leaves adapter"):
        run("measure/compression_bound", bench.finetuned(full.checkpoint))
    with pytest.raises(UserError, match="was trained beside the subspace"):
        run("measure/compression_bound", train(head="apart"))


def opened(network, file):
    """Give the subspace of a file by another way than the method's: the network must end where `load_adapter` does."""
    adapter = read_adapter(file)
    from_file = load(network.name, num_labels=2, seed=adapter.seed)
    load_adapter(from_file, file)
    subspace = Subspace(network, adapter.settings, adapter.seed)
    subspace.set_state(adapter.state)
    expected = from_file.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.model.state_dict().items())
    return subspace


def error_alone(network, split):
    with torch.no_grad():
        answers = [
            network.model(**network.tokenizer(text, return_tensors="pt")).logits.argmax().item() for text in split.texts
        ]
    return pytest.approx(float((np.array(answers) != split.labels).mean()))
