import shutil

import pytest
from safetensors.torch import load_file
from torch import equal

FINETUNE = (
    "run finetune/random_subspace --task reviews.csv --model tiny/bert --epochs 1 --precision float32 --num-trained 50"
)


@pytest.fixture(scope="module")
def tuned(dimscope, write_reviews, tmp_path_factory):
    """Give a folder in which an adapter was trained, and the checkpoint's folder."""
    folder = tmp_path_factory.mktemp("tuned")
    write_reviews(folder / "reviews.csv")
    ran = dimscope(f"{FINETUNE} --seed 3 --out out", folder)
    assert ran.code == 0
    return folder, folder / "out" / "checkpoints" / ran.out.split("Checkpoint: ")[1].strip()


def test_show_tells_what_it_is_of(dimscope, tuned):
    folder, checkpoint = tuned
    shown = dimscope(f"adapter show {checkpoint}", folder)
    assert shown.code == 0
    assert shown.out == dimscope(f"adapter show {checkpoint / 'adapter.safetensors'}", folder).out
    lines = dict(line.split(": ") for line in shown.out.splitlines())
    assert lines["base"].startswith("tiny/bert, weights ")
    assert (lines["seed"], lines["classes"], lines["numbers"]) == ("3", "bad, good", "50")
    assert (lines["projection"], lines["num_trained"], lines["moved"]) == ("one_hot", "50", "all")


def test_merge_writes_the_checkpoint_again_out_of_the_adapter_alone(dimscope, tuned):
    folder, checkpoint = tuned
    shutil.copy(checkpoint / "adapter.safetensors", folder / "mine.safetensors")
    merged = dimscope("adapter merge mine.safetensors --out merged", folder)
    assert (merged.code, merged.out) == (0, "merged\n")
    weights, expected = (load_file(each / "model.safetensors") for each in (folder / "merged", checkpoint))
    assert weights.keys() == expected.keys()
    assert all(equal(tensor, expected[name]) for name, tensor in weights.items())
    # A bench takes it for a model of its own.
    run = "run measure/one_dimension --task reviews.csv --model tiny/bert --out out --num-permutations 99"
    assert dimscope(f"{run} --checkpoint merged", folder).code == 0


def test_a_folder_that_is_there_is_not_replaced(dimscope, tuned):
    folder, checkpoint = tuned
    (folder / "taken").mkdir()
    (folder / "taken" / "precious.txt").write_text("mine")
    refused = dimscope(f"adapter merge {checkpoint} --out taken", folder)
    assert refused.code == 2
    assert "taken is there already" in refused.err
    assert (folder / "taken" / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("show nowhere.safetensors", "there is no adapter nowhere.safetensors"),
        ("show out", "there is no adapter out/adapter.safetensors: finetune/random_subspace leaves"),
        ("show reviews.csv", "reviews.csv is damaged, or no adapter of ours"),
        ("merge nowhere.safetensors --out new", "there is no adapter nowhere.safetensors"),
        ("merge {adapter} --out new --model tiny/roberta", "belongs to 'tiny/bert' with 2 classes and seed 3"),
        ("merge {adapter} --out new --model no-such-model", "unknown model 'no-such-model'"),
        ("merge {adapter}", "--out"),
    ],
)
def test_what_cannot_be_done_is_told(words, message, dimscope, tuned):
    folder, checkpoint = tuned
    refused = dimscope(f"adapter {words.format(adapter=checkpoint / 'adapter.safetensors')}", folder)
    assert refused.code == 2
    assert message in refused.err
    assert refused.out == ""
    assert not (folder / "new").exists()
