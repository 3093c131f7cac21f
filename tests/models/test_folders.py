from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dimscope.core.errors import UserError
from dimscope.models import folders
from dimscope.models.catalogue import find
from dimscope.models.folders import folder
from dimscope.models.load import digest, load
from dimscope.store.hub import Unreached


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIMSCOPE_CACHE", str(tmp_path))
    return tmp_path


def test_a_tiny_model_is_made_once(own_cache: Path):
    source = find("tiny/gpt2")
    made = folder(source)
    written = (made / "model.safetensors").stat().st_mtime_ns
    assert made.is_relative_to(own_cache)
    assert folder(source) == made
    assert (made / "model.safetensors").stat().st_mtime_ns == written
    assert load("tiny/gpt2").name == "tiny/gpt2"


def test_the_hubs_commit_is_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    snapshot = tmp_path / "snapshots" / "0a1b2c"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    monkeypatch.setattr(folders, "snapshot", lambda *asked, **options: snapshot)
    assert digest(find("gpt2")) == "0a1b2c"


def test_no_pickle_is_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(folders, "snapshot", lambda *words, **options: asked.append(words) or tmp_path)
    with pytest.raises(UserError, match=r"no \*\.safetensors"):
        folder(find("gpt2"))
    ((_, _, patterns),) = asked
    unwanted = ("pytorch_model.bin", "tf_model.h5", "rust_model.ot", "onnx.pt", "model.pickle")
    assert not any(Path(name).match(pattern) for name in unwanted for pattern in patterns)
    wanted = (
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
        "spiece.model",
    )
    assert all(any(Path(name).match(pattern) for pattern in patterns) for name in wanted)


def test_without_a_network_the_local_way_is_offered(monkeypatch: pytest.MonkeyPatch):
    def unreachable(*asked: object, **options: object) -> Path:
        raise Unreached

    monkeypatch.setattr(folders, "snapshot", unreachable)
    with pytest.raises(UserError, match="give its path"):
        load("gpt2")


@pytest.mark.registry
def test_minilm_comes_from_the_registry():
    network = load("minilm")
    assert (network.hidden_size, network.num_layers, network.max_length) == (384, 6, 512)
    assert not network.is_decoder
    assert sum(part.numel() for part in network.model.base_model.parameters()) == 22_713_216
    # Dimension 99 has a weight far out of the others' in the norm after block 0's attention.
    norm = network.sites["layers.0.out"].module.attention.output.LayerNorm
    assert norm.weight.argmax() == 99
    assert norm.weight[99] > norm.weight.mean() + 7 * norm.weight.std()


@pytest.mark.registry
@pytest.mark.slow
def test_smollm2_is_converted_once_and_knows_its_prompt():
    network = load("smollm2")
    assert (network.hidden_size, network.num_layers, network.is_decoder) == (576, 30, True)
    ids = network.tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.inference_mode():
        hidden = network.model.base_model(input_ids=ids).last_hidden_state[0, -1]
        # The output map is tied to the embedding.
        best = (network.model.get_input_embeddings().weight @ hidden).argmax()
    assert network.tokenizer.decode(best) == " Paris"
