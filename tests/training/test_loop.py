import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dimscope.core import seeds
from dimscope.core.errors import UserError
from dimscope.data.batching import encode, shuffled_length_batches
from dimscope.data.task import Split
from dimscope.models.catalogue import ModelSource
from dimscope.models.load import load
from dimscope.training.loop import TrainingSet, train
from dimscope.training.settings import TrainingSettings

TEXTS = ["a good film", "bad", "so very very bad a film", "good good", "not bad", "the film is good and sad"] * 4
LABELS = np.array([1, 0, 0, 1, 1, 0] * 4)


@pytest.fixture
def make(tiny_folder):
    """Give a fresh network without dropout, so that only rounding tells two ways of computing apart."""

    def build(family="bert"):
        network = load(ModelSource(family, "folder", str(tiny_folder(family))), num_labels=2, seed=3)
        for module in network.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        encoded = encode(network.tokenizer, Split(tuple(TEXTS), LABELS), 32)
        return network, TrainingSet(encoded, LABELS)

    return build


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.model.parameters()])


def assert_same_training(one, other):
    """Adam divides by the gradient's own size, so a gradient that is zero but for rounding (a key's bias) moves at random."""
    difference = (weights(one) - weights(other)).abs()
    assert (difference < 2e-5).float().mean() > 0.99
    assert difference.max() < 1e-2


def settings(**changed):
    return TrainingSettings(**{"learning_rate": 1e-3, "epochs": 2, "batch_size": 5, "precision": "float32", **changed})


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_training_is_plain_adamw_on_cross_entropy(make, family):
    network, data = make(family)
    losses = train(network, data, settings(), seed=7)

    oracle, data = make(family)
    optimizer = torch.optim.AdamW(oracle.model.parameters(), lr=1e-3, weight_decay=0.01)
    expected = []
    for epoch in range(2):
        for batch in shuffled_length_batches(data.encoded.lengths, 5, seeds.stream(7, f"order/{epoch}")):
            loss = 0
            for index in batch:  # one sentence at a time, so that there is no padding at all
                inputs = oracle.tokenizer(TEXTS[index], return_tensors="pt")
                logits = oracle.model.train()(**inputs).logits
                loss = loss + torch.nn.functional.cross_entropy(logits, torch.tensor([LABELS[index]])) / len(batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            expected.append(loss.item())
    np.testing.assert_allclose(losses, expected, rtol=1e-3)
    assert_same_training(network, oracle)


def test_parts_of_a_batch_give_the_same_training(make):
    networks = {}
    for parts in (1, 3):
        network, data = make()
        train(network, data, settings(accumulation_steps=parts, clip_norm=0.5), seed=7)
        networks[parts] = network
    assert_same_training(networks[1], networks[3])


def test_more_parts_than_sentences_do_no_harm(make):
    (network, data), (other, _) = make(), make()
    train(network, data, settings(accumulation_steps=9, epochs=1), seed=7)
    train(other, data, settings(epochs=1), seed=7)
    assert_same_training(network, other)


def test_the_loss_falls_and_the_network_is_left_in_evaluation_mode(make):
    network, data = make()
    losses = train(network, data, settings(epochs=15, batch_size=8), seed=1)
    assert losses[-3:].mean() < losses[:3].mean() / 2
    assert not network.model.training


@pytest.fixture
def rates(monkeypatch):
    """The learning rate of every optimizer step."""
    seen, step = [], torch.optim.AdamW.step

    def note_rate(self, *arguments, **named):
        seen.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", note_rate)
    return seen


@pytest.mark.parametrize(("schedule", "last"), [("constant", 1.0), ("linear", 1 / 8), ("cosine", 0.0380602)])
def test_schedules_end_where_their_formula_says(make, rates, schedule, last):
    train(*make(), settings(schedule=schedule, batch_size=6), seed=1)
    assert len(rates) == 8
    assert rates[0] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-3 * last, rel=1e-4)


def test_warm_up_rises_from_nothing(make, rates):
    train(*make(), settings(warmup_fraction=0.5, batch_size=6), seed=1)
    assert rates[:5] == pytest.approx([0, 0.25e-3, 0.5e-3, 0.75e-3, 1e-3])


def test_a_loss_that_is_no_number_stops_and_is_told_with_its_step(make):
    network, data = make()
    with torch.no_grad():
        network.head.bias.fill_(float("nan"))
    with pytest.raises(UserError, match=r"became nan at step 1 .*smaller learning rate"):
        train(network, data, settings(), seed=1)


def test_the_callers_random_numbers_are_left_alone(make):
    network, data = make()
    before = torch.get_rng_state()
    train(network, data, settings(epochs=1), seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_dropout_comes_from_the_seed(tiny_folder):
    def trained(seed):
        network = load(ModelSource("bert", "folder", str(tiny_folder("bert"))), num_labels=2, seed=3)
        encoded = encode(network.tokenizer, Split(tuple(TEXTS), LABELS), 32)
        return train(network, TrainingSet(encoded, LABELS), settings(epochs=1), seed)

    np.testing.assert_array_equal(trained(1), trained(1))
    assert not np.array_equal(trained(1), trained(2))


def test_two_processes_train_as_one(make, tiny_folder, tmp_path):
    network, data = make()
    train(network, data, settings(epochs=1), seed=7)
    script = Path(__file__).with_name("two_processes.py")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc_per_node=2",
            "--standalone",
            script,
            tmp_path,
            tiny_folder("bert"),
        ],
        check=True,
        env={"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", **os.environ},
    )
    together, _ = make()
    torch.nn.utils.vector_to_parameters(torch.load(tmp_path / "weights.pt"), together.model.parameters())
    assert_same_training(network, together)


_AFTER_A_TRAINER = """
import numpy as np, torch
from accelerate import Accelerator
Accelerator(mixed_precision="bf16", cpu=True)
from dimscope.data.batching import Encoded
from dimscope.models.load import load
from dimscope.training.loop import TrainingSet, train
from dimscope.training.settings import TrainingSettings
for family in ("bert", "gpt2"):
    ids = [np.arange(5, 5 + length, dtype=np.int32) for length in (3, 4, 5, 6)]
    network = load(f"tiny/{family}", seed=1)
    losses = train(network, TrainingSet(Encoded(ids, None, 0, 0), np.array([0, 1, 0, 1])), TrainingSettings(precision="float32"), 1)
    print([loss.hex() for loss in losses.tolist()])
"""


def test_another_librarys_mixed_precision_in_this_process_changes_nothing():
    """A Trainer with bf16 fixes accelerate's precision until the process ends."""
    alone = _AFTER_A_TRAINER.replace('Accelerator(mixed_precision="bf16", cpu=True)', "")
    outputs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        for script in (_AFTER_A_TRAINER, alone)
    ]
    assert outputs[0] == outputs[1] != ""
