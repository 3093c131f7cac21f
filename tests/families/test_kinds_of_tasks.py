"""Three classes, and graded sentences cut into two, go the whole way like two classes do."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.data import packaged
from dimscope.data.packaged import DOMAINS, SNIPPETS
from dimscope.data.task import Split, Task
from dimscope.running import run

SIGNS = ("good", "sad", "dull")
TRAINING = {"learning_rate": 2e-3, "epochs": 10, "batch_size": 16, "precision": "float32"}


def sentence(sign: str, rng: np.random.Generator) -> str:
    """Give a sentence whose last word tells its class."""
    return " ".join([*rng.choice(["the", "film", "is", "a", "story", "and"], size=rng.integers(1, 6)), sign])


@pytest.fixture(scope="module")
def three_classes() -> Task:
    rng = np.random.default_rng(0)

    def split(num_sentences: int) -> Split:
        labels = rng.integers(3, size=num_sentences)
        return Split(tuple(sentence(SIGNS[label], rng) for label in labels), labels.astype(np.int64))

    return Task("three classes", SIGNS, split(96), split(60))


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def tuned(request, tiny_folder, three_classes, tmp_path_factory) -> Bench:
    """The bench on a model that has learned the three classes."""
    out = tmp_path_factory.mktemp("study")
    bench = Bench(str(tiny_folder(request.param)), three_classes, device="cpu", out=out)
    trained = run("finetune/full", bench, **TRAINING)
    assert trained.value("accuracy") >= 0.9
    return bench.finetuned(str(trained.checkpoint))


def test_logits_and_the_checkpoint_have_three_classes(tuned):
    assert tuned.logits("validation").shape == (60, 3)
    assert tuned.network.model.config.id2label == {0: "good", 1: "sad", 2: "dull"}


def test_the_rule_of_one_dimension_is_the_best_there_is(tuned):
    """Every pair of cuts and every order of the classes between them is tried, on a few dimensions."""
    result = run("measure/one_dimension", tuned, num_random_directions=3, num_label_permutations=3, num_permutations=99)
    learned = result.arrays["train_accuracy"]
    assert list(learned.ticks["rule"]) == ["exact"]
    states, labels = tuned.states("train"), tuned.labels("train")
    for dim in (0, 7, 31):
        assert learned.values[0, dim] == pytest.approx(best_three_intervals(states[:, dim], labels))
    right = (tuned.logits("validation").argmax(axis=1) == tuned.labels("validation")).mean()
    assert result.value("accuracy", classifier="full model") == pytest.approx(right)
    assert any("two classes" in note for note in result.notes)


def best_three_intervals(values: np.ndarray, labels: np.ndarray) -> float:
    """The largest share of sentences that one interval for each class gets right; by trying all."""
    order = np.argsort(values, kind="stable")
    cuts = [0, *(np.flatnonzero(np.diff(values[order]) > 0) + 1), len(values)]
    counts = np.vstack([np.zeros(3, int), np.cumsum(np.eye(3, dtype=int)[labels[order]], axis=0)])
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    best = max(
        counts[low, first] + counts[high, second] - counts[low, second] + counts[-1, third] - counts[high, third]
        for low in cuts
        for high in cuts
        if low <= high
        for first, second, third in orders
    )
    return best / len(values)


def test_ablation_of_three_classes_starts_from_the_whole_model(tuned):
    result = run("intervene/ablate_dimensions", tuned, dims=tuple(range(32)), num_draws=2, num_layer_draws=1)
    right = (tuned.logits("validation").argmax(axis=1) == tuned.labels("validation")).mean()
    for place in ("final", "every layer"):
        assert result.value("accuracy", ablated="nothing", place=place) == pytest.approx(right)
    # With all dimensions at zero every sentence gets one and the same class.
    shares = np.bincount(tuned.labels("validation"), minlength=3) / 60
    blind = result.value("accuracy", ablated="chosen dimensions", fill="zero", place="final")
    assert min(abs(shares - blind)) < 1e-9


def test_persistence_does_not_ask_how_many_classes_there_are(tuned):
    result = run("measure/persistence", tuned, factor=1.5)
    sets = result.arrays["is_outlier"].values
    assert result.value("num_outliers_before") == sets[0].sum()
    assert result.value("num_shared") == (sets[0] & sets[1]).sum()


@pytest.fixture
def rated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive of sentences rated around 2.5 if good, −2.5 if sad, and 0.3 if dull."""
    rng = np.random.default_rng(0)
    means = {"good": 2.5, "sad": -2.5, "dull": 0.3}
    rows = [
        f"{number}\t{means[sign] + rng.uniform(-0.2, 0.2):.3f}\t{sentence(sign, rng)} {number}"
        for number, sign in enumerate(rng.choice(SIGNS, size=150))
    ]
    path = tmp_path / SNIPPETS.members[0]
    path.parent.mkdir(parents=True)
    content = "\r\n".join(rows).encode()
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(f"hutto_ICWSM_2014/{DOMAINS['snippets']}_GroundTruth.txt")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(packaged, "fetch", lambda package: tmp_path)


def test_graded_sentences_are_cut_at_0_and_the_neutral_ones_left_out(rated, tiny_folder, tmp_path):
    model = str(tiny_folder("gpt2"))
    whole, banded = (
        Bench(model, "snippets", device="cpu", out=tmp_path / "study", neutral_band=band) for band in (0, 1.0)
    )
    assert any("dull" in text for text in whole.task.train.texts)
    assert not any("dull" in text for text in banded.task.train.texts + banded.task.validation.texts)
    assert whole.spec != banded.spec
    for bench in (whole, banded):
        for split in (bench.task.train, bench.task.validation):
            np.testing.assert_array_equal(split.labels, split.scores > 0)
    trained = run("finetune/full", banded, **TRAINING)
    assert trained.value("accuracy") >= 0.9
    measured = run("measure/one_dimension", banded.finetuned(str(trained.checkpoint)), num_permutations=99)
    assert measured.value("accuracy", classifier="best linear direction") >= 0.9


def test_grades_of_ones_own_are_refused(tiny_folder, tmp_path):
    path = tmp_path / "rated.csv"
    path.write_text("text,label\n" + "".join(f"film {row},{row / 7 - 1:.3f}\n" for row in range(20)))
    with pytest.raises(UserError, match="look like grades: wanted whole numbers or names"):
        Bench(str(tiny_folder("gpt2")), str(path), device="cpu")
