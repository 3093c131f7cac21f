"""The search where the answer is known: a teacher θ₀ + P z* of few numbers tells the classes, and the head alone moves.

Of the state that the head reads 15 dims vary, all of them alike, and the others are 0. So the classes hang on 16 linear
functions of the 66 parameters: 15 weights and a bias, each the one class's less the other's. Along random directions 16
numbers reach them all and fewer do not, however few made the teacher. Along its own it is reached by as few: of one seed,
the dense directions of a larger d begin with those of a smaller.
"""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from dimscope.bench import Bench
from dimscope.core.result import Number, Result
from dimscope.data.task import Split, Task
from dimscope.methods.measure.intrinsic_dimension import IntrinsicDimension
from dimscope.models.tiny import TEXTS
from dimscope.running import run
from dimscope.training import trial as trial_module
from dimscope.training import trials as trials_module
from dimscope.training.subspace import Subspace, SubspaceSettings

NUM_VARYING, OF_TEACHER = 15, 4
KNOWN = NUM_VARYING + 1
WORDS = sorted({word for text in TEXTS for word in text.split()})
SEARCH = IntrinsicDimension(
    moved="head",
    projection="dense",
    share=0.95,
    smallest=2,
    largest=25,
    bracket_ratio=2.5,
    num_seeds=1,
    learning_rates=(0.06,),
    epochs=10,
    batch_size=16,
    schedule="linear",
    hopeless_share=0.0,
    precision="float32",
)


def make_task(labels=None) -> Task:
    rng = np.random.default_rng(0)

    def split(name):
        texts = [" ".join(rng.choice(WORDS, size=5)) for _ in range(500)]
        return Split(tuple(texts), np.arange(500) % 2 if labels is None else labels[name])

    return Task("taught", ("no", "yes"), split("train"), split("validation"))


@pytest.fixture(scope="module")
def folder(tiny_folder, tmp_path_factory):
    """An encoder whose pooler gives the first principal components of its states, all as wide, and otherwise 0."""
    folder, old = tmp_path_factory.mktemp("few"), tiny_folder("bert")
    states = torch.from_numpy(Bench(str(old), make_task(), out=folder / "store").states("train"))
    mean = states.mean(0)
    _, widths, directions = torch.linalg.svd(states - mean, full_matrices=False)
    to_few = 0.7 * len(states) ** 0.5 * directions[:NUM_VARYING] / widths[:NUM_VARYING, None]
    # Without dropout: what is little noise beside wide directions drowns narrow ones once all are as wide.
    model = AutoModel.from_pretrained(old, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    dense = model.pooler.dense
    with torch.no_grad():
        for parameter, values in ((dense.weight, to_few), (dense.bias, -to_few @ mean)):
            parameter.zero_()[:NUM_VARYING] = values
    model.save_pretrained(folder / "bert")
    AutoTokenizer.from_pretrained(old).save_pretrained(folder / "bert")
    return folder / "bert"


@pytest.fixture
def the_teacher_is_the_full_model(monkeypatch):
    """What is to be reached is a share of the teacher's accuracy, which is 1; all else is trained."""

    def outcome(name, trial, bench, seed):
        if trial.subspace:
            return trial_module.outcome(name, trial, bench, seed)
        names = {"accuracy": 1.0, "is_stopped": 0, "is_diverged": 0}
        numbers = [Number(name=name, value=value) for name, value in names.items()]
        return Result(numbers=numbers, provenance={"seconds": 1.0})

    monkeypatch.setattr(trials_module, "outcome", outcome)


def taught(folder, out, seed) -> Task:
    """Sentences with the classes that a teacher gives them whose numbers go along that seed's directions."""
    bench = Bench(str(folder), make_task(), seed=seed, out=out)
    network = bench.load()
    settings = SubspaceSettings(num_trained=OF_TEACHER, moved="head", projection="dense")
    teacher = Subspace(network, settings, seed)
    z = torch.tensor([10.0, -10.0, 10.0, -10.0])
    teacher.set_state({**teacher.state(), "z": z})
    return make_task({split: bench.logits_of(network, split).argmax(1) for split in ("train", "validation")})


@pytest.mark.usefixtures("the_teacher_is_the_full_model")
@pytest.mark.parametrize(
    ("seed", "known", "failing", "passing"), [(1, OF_TEACHER, 2, 5), (7, KNOWN, 11, 25)], ids=["its own", "others"]
)
def test_the_known_number_is_bracketed(seed, known, failing, passing, folder, tmp_path):
    found = run(SEARCH, Bench(str(folder), taught(folder, tmp_path, seed), seed=1, out=tmp_path))
    assert found.value("num_moved_parameters") == 2 * 32 + 2
    assert found.value("target_above_majority") > 0.3
    assert found.value("largest_failing") == failing < known <= passing == found.value("smallest_passing")
