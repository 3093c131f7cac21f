import numpy as np
import pytest
import torch

from dimscope import open_states
from dimscope.activations import capture
from dimscope.bench import Bench
from dimscope.core.errors import UnknownName, UserError
from dimscope.models.classify import classify
from dimscope.running import run


@pytest.fixture
def bench(tiny_folder, reviews, tmp_path):
    return Bench(str(tiny_folder("gpt2")), reviews, out=tmp_path)


def test_states_are_taken_once_and_found_again(bench, monkeypatch):
    first = bench.states("train")
    monkeypatch.setattr(capture, "states", lambda *_: pytest.fail("taken again"))
    again = Bench(bench.source.name, bench.task, out=bench.store.root, seed=9)
    np.testing.assert_array_equal(again.states("train"), first)


def test_stored_states_open_in_python(bench):
    states = bench.states("validation")
    stored = open_states(bench.states_folder("validation"))
    np.testing.assert_array_equal(stored[5:9], states[5:9])
    assert stored.about["site"] == "final"
    assert stored.about["pooling"] == "last"


def test_a_damaged_shard_is_taken_again(bench):
    states = bench.states("train").copy()
    (shard,) = bench.states_folder("train").glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-7])
    again = Bench(bench.source.name, bench.task, out=bench.store.root)
    np.testing.assert_array_equal(again.states("train"), states)


def test_several_sites_are_those_of_transformers(bench):
    states = bench.states_at("validation", ["embed", "layers.0.out", "final"])
    network = bench.network
    for row, text in enumerate(bench.task.validation.texts[:10]):
        hidden = network.model.base_model(
            **network.tokenizer(text, return_tensors="pt"), output_hidden_states=True
        ).hidden_states
        for site, layer in {"embed": 0, "layers.0.out": 1, "final": -1}.items():
            expected = hidden[layer][0, -1].detach().numpy()
            np.testing.assert_allclose(states[site][row], expected, rtol=1e-4, atol=1e-5)


def test_what_changes_numbers_changes_the_spec(bench, tiny_folder, reviews, tmp_path):
    others = [
        Bench(str(tiny_folder("bert")), reviews, out=tmp_path),
        Bench(bench.source.name, reviews, seed=2, out=tmp_path),
        Bench(bench.source.name, reviews, max_length=8, out=tmp_path),
    ]
    assert all(other.spec != bench.spec for other in others)
    assert Bench(bench.source.name, reviews, out=tmp_path / "elsewhere").spec == bench.spec


def test_a_pretrained_head_has_no_say(bench):
    with pytest.raises(UserError, match="learned nothing"):
        bench.logits("validation")


def test_a_finetuned_bench_finds_its_base(bench):
    tuned = bench.finetuned(run("finetune/full", bench, epochs=1).checkpoint)
    assert tuned.where["weights"] == "fine-tuned"
    assert tuned.pretrained.spec == bench.spec
    assert not np.array_equal(tuned.states("train"), bench.states("train"))
    folder = str(bench.store.checkpoint(tuned.checkpoint))
    by_folder = bench.finetuned(folder)
    np.testing.assert_allclose(by_folder.logits("validation"), tuned.logits("validation"), rtol=1e-5)


@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_a_device_that_is_not_there_is_told(device, bench):
    with pytest.raises(UserError, match=r"sees no GPU|wanted the device"):
        Bench(bench.source.name, bench.task, device=device)


def test_unknown_names_are_told(reviews):
    with pytest.raises(UnknownName, match="Did you mean 'minilm'"):
        Bench("minlm", reviews)
    with pytest.raises(UnknownName, match="Did you mean 'movie_reviews'"):
        Bench("tiny/bert", "movie_review")


def test_a_task_that_is_read_takes_no_more_options(reviews):
    with pytest.raises(UserError, match="limit would be ignored"):
        Bench("tiny/bert", reviews, limit=3)


def test_what_is_released_is_found_again(bench):
    states = bench.states("train")
    bench.release()
    assert "network" not in vars(bench)
    np.testing.assert_array_equal(bench.states("train"), states)


@pytest.fixture
def prompted(tiny_folder, tmp_path):
    return Bench(str(tiny_folder("llama")), "prompts/induction", limit=6, out=tmp_path)


def test_prompts_make_the_model_a_language_model(prompted):
    network = prompted.network
    assert prompted.is_language_model
    assert network.num_labels == network.model.config.vocab_size
    assert len(prompted.pairs) == 6
    assert prompted.where["task"] == "prompts/induction"
    batch = {"input_ids": torch.from_numpy(prompted.pairs.ids), "attention_mask": torch.from_numpy(prompted.pairs.mask)}
    with torch.inference_mode():
        logits = classify(network, batch)
        for row, end in enumerate(prompted.pairs.places["end"]):
            theirs = network.model(input_ids=batch["input_ids"][row : row + 1, : end + 1]).logits[0, -1]
            torch.testing.assert_close(logits[row], theirs, atol=1e-5, rtol=1e-5)


def test_what_changes_prompts_changes_the_spec(prompted, tiny_folder, reviews, tmp_path):
    model, task = prompted.source.name, prompted.task.name
    others = [
        Bench(model, task, limit=5, out=tmp_path),
        Bench(model, task, limit=6, seed=2, out=tmp_path),
        Bench(model, reviews, out=tmp_path),
        Bench(str(tiny_folder("gpt2")), task, limit=6, out=tmp_path),
    ]
    assert prompted.spec["model"]["kind"] == "language model"
    assert prompted.spec == Bench(model, task, limit=6, out=tmp_path / "elsewhere").spec
    assert all(other.spec != prompted.spec for other in others)


def test_prompts_have_no_classes(prompted):
    asked = [
        lambda: prompted.labels("validation"),
        lambda: prompted.label_names,
        lambda: prompted.encoded("train"),
        lambda: prompted.states("train"),
        lambda: prompted.logits("validation"),
        lambda: prompted.finetuned("0" * 64),
    ]
    for ask in asked:
        with pytest.raises(UserError, match="prompts for a language model"):
            ask()


def test_an_encoder_predicts_no_next_token(tiny_folder, tmp_path):
    bench = Bench(str(tiny_folder("bert")), "prompts/induction", limit=4, out=tmp_path)
    with pytest.raises(UserError, match="is an encoder, which predicts no next token"):
        _ = bench.network


def test_options_that_prompts_would_ignore_are_refused(tiny_folder, tmp_path):
    with pytest.raises(UserError, match="so max_length would be ignored"):
        Bench(str(tiny_folder("gpt2")), "prompts/induction", max_length=9, out=tmp_path)


def test_a_classifiers_pairs_are_sentences_of_different_classes(bench):
    pairs, labels = bench.pairs, bench.labels("validation")
    classes = dict(zip(bench.task.validation.texts, labels, strict=True))
    assert len(pairs) > 5
    for row, (text, other) in enumerate(zip(pairs.texts, pairs.counterfactuals, strict=True)):
        assert (pairs.answers[row], pairs.others[row]) == (classes[text], classes[other])
        assert pairs.answers[row] != pairs.others[row]
        ids = bench.network.tokenizer([text, other])["input_ids"]
        assert [len(each) for each in ids] == [pairs.mask[row].sum()] * 2
    again = Bench(bench.source.name, bench.task, out=bench.store.root)
    assert again.pairs.digest == pairs.digest
