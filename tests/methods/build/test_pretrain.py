import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from dimscope.bench import Bench
from dimscope.core.errors import UserError
from dimscope.data.task import Split, Task
from dimscope.methods.build.pretrain import unigram
from dimscope.models.load import load
from dimscope.running import run
from dimscope.training.checkpoints import is_intact

SMALL = {
    "num_layers": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "vocabulary": 300,
    "batch_size": 16,
    "precision": "float32",
}
WORDS = ["red", "green", "blue", "black", "white", "gray", "pink", "brown"]


@pytest.fixture(scope="module")
def ruled():
    """Texts with a rule: each says one word, eight times, so the others tell a hidden one; all words are as frequent."""

    def split(size):
        return Split(tuple(" ".join([WORDS[row % 8]] * 8) for row in range(size)), np.arange(size) % 2)

    return Task("ruled", ("a", "b"), split(800), split(100))


@pytest.fixture
def bench(ruled, tiny_folder, tmp_path):
    return Bench(str(tiny_folder("bert")), ruled, out=tmp_path, max_length=16)


@pytest.fixture(scope="module")
def learned(ruled, tiny_folder, tmp_path_factory):
    bench = Bench(str(tiny_folder("bert")), ruled, out=tmp_path_factory.mktemp("pretrained"), max_length=16)
    result = run("build/pretrain", bench, **SMALL, steps=300, learning_rate=3e-3, keep_at=(0, 100))
    return bench, result, bench.store.checkpoint(result.checkpoint)


def test_a_rule_in_the_texts_is_learned(learned):
    _, result, _ = learned
    assert result.value("unigram_accuracy") == pytest.approx(1 / 8, abs=0.05)
    assert result.value("unigram_loss") == pytest.approx(np.log(8), abs=0.1)
    assert result.value("masked_accuracy", step=0) < 0.2
    assert result.value("masked_accuracy", step=300) > 0.9
    assert result.value("masked_loss", step=300) < result.value("unigram_loss") / 2
    losses = result.arrays["step_loss"].values
    assert len(losses) == 300
    assert losses[-30:].mean() < losses[:30].mean() / 2


def test_each_kept_model_is_one_that_a_bench_opens(learned, ruled, tmp_path):
    _, result, folder = learned
    assert sorted(path.name for path in folder.glob("step-*")) == ["step-0", "step-100", "step-300"]
    assert [note.rpartition("/")[2] for note in result.notes] == ["step-0.", "step-100.", "step-300."]
    states = []
    for step in (0, 300):
        opened = Bench(str(folder / f"step-{step}"), ruled, out=tmp_path, max_length=16)
        assert opened.network.hidden_size == 32
        states.append(opened.states("validation"))
    assert states[0].shape == (100, 32)
    assert not np.allclose(*states)
    assert is_intact(folder)
    (folder / "step-100" / "config.json").write_text("{}")
    assert not is_intact(folder)


def test_what_is_kept_tells_as_well_as_it_was_scored(learned, ruled):
    """transformers alone opens it, and hides one word of each validation text after the other."""
    _, _, folder = learned
    model = AutoModelForMaskedLM.from_pretrained(folder / "step-300").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "step-300")
    rows = tokenizer(list(ruled.validation.texts), return_tensors="pt").input_ids
    right = []
    for place in range(1, rows.shape[1] - 1):
        hidden = rows.clone()
        hidden[:, place] = tokenizer.mask_token_id
        with torch.inference_mode():
            right.append(model(input_ids=hidden).logits[:, place].argmax(1) == rows[:, place])
    assert torch.cat(right).float().mean() > 0.95


def test_the_counts_are_the_closed_form(learned):
    _, result, folder = learned
    dims, inner, positions = 32, 64, 16
    tokens = len(AutoTokenizer.from_pretrained(folder / "step-0"))
    block = 4 * (dims * dims + dims) + 2 * dims * inner + inner + dims + 2 * 2 * dims
    encoder = (tokens + positions + 2 + 2) * dims + 2 * block
    head = dims * dims + dims + 2 * dims + tokens
    assert result.value("num_parameters", part="encoder") == encoder
    assert result.value("num_parameters", part="head") == head
    stored = load_file(folder / "step-0" / "model.safetensors")
    assert sum(tensor.numel() for tensor in stored.values()) == encoder + head
    base = load(str(folder / "step-0")).model.base_model
    assert sum(each.numel() for name, each in base.named_parameters() if "pooler" not in name) == encoder


def test_no_steps_give_the_random_start(bench, learned):
    _, _, folder = learned
    result = run("build/pretrain", bench, **SMALL, steps=0)
    start = load_file(bench.store.checkpoint(result.checkpoint) / "step-0" / "model.safetensors")
    kept = load_file(folder / "step-0" / "model.safetensors")
    assert all(torch.equal(tensor, kept[name]) for name, tensor in start.items())
    word = start["bert.embeddings.word_embeddings.weight"][5:]
    assert word.std() == pytest.approx(0.02, rel=0.05)  # BERT's initializer
    assert len(result.arrays["step_loss"].values) == 0


def test_the_seed_and_not_what_is_kept_makes_the_weights(bench, tmp_path):
    def trained(seed=1, **settings):
        own = Bench(bench.source.name, bench.task, seed=seed, out=tmp_path / f"{len(settings)}{seed}", max_length=16)
        result = run("build/pretrain", own, **SMALL, steps=6, **settings)
        return load_file(own.store.checkpoint(result.checkpoint) / "step-6" / "model.safetensors")

    first, again, other = trained(), trained(keep_at=(0, 3)), trained(seed=2)
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(
        first["bert.embeddings.word_embeddings.weight"], other["bert.embeddings.word_embeddings.weight"]
    )


def test_pairs_of_texts_keep_their_types(bench):
    split = Split(("red red", "white blue gray"), np.array([0, 1]), pairs=("green pink", "black"))
    task = Task("pairs", ("a", "b"), split, split)
    pairs = Bench(bench.source.name, task, out=bench.store.root, max_length=16)
    result = run("build/pretrain", pairs, **{**SMALL, "batch_size": 2, "masked_fraction": 0.5}, steps=2)
    assert np.isfinite(result.arrays["step_loss"].values).all()


def test_the_unigram_baseline_by_hand():
    counts, targets = np.array([0, 6, 2]), np.array([1, 2, 2, 0])
    loss, accuracy = unigram(counts, targets)
    assert loss.value == pytest.approx(-np.log(np.array([7, 3, 3, 1]) / 11).mean())
    assert accuracy.value == 0.25


def test_what_cannot_be_built_is_refused(bench, tiny_folder, ruled):
    with pytest.raises(UserError, match="3 heads cannot share out 128 dims evenly"):
        run("build/pretrain", bench, num_heads=3)
    with pytest.raises(UserError, match="nothing can be kept after step 3000: there are 2000 steps"):
        run("build/pretrain", bench, keep_at=(3000,))
    other = Bench(str(tiny_folder("gpt2")), ruled, out=bench.store.root, max_length=16)
    with pytest.raises(UserError, match=r"only BERT's can be built: got gpt2\. Name tiny/bert"):
        run("build/pretrain", other, steps=0)
