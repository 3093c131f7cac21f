import numpy as np
import pytest

from dimscope import open_states
from dimscope.activations import capture
from dimscope.bench import Bench
from dimscope.core.errors import UnknownName, UserError
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
