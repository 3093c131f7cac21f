from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from dimscope.activations.check import check
from dimscope.core.errors import UserError
from dimscope.models.catalogue import ModelSource, find
from dimscope.models.classify import classify
from dimscope.models.families import FAMILIES
from dimscope.models.load import Network, digest, load, load_language_model, load_tokenizer

Folders = Callable[[str], Path]


def source_of(folder: Path) -> ModelSource:
    return find(str(folder))


@pytest.fixture
def copied(tiny_folder: Folders, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a family's folder that a test may spoil."""
    return lambda family: Path(shutil.copytree(tiny_folder(family), tmp_path / "model"))


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_an_encoder_and_what_a_decoder(family: str, tiny_network: Callable[[str], Network]):
    decoders = {"gpt2", "gpt_neox", "llama", "gpt_neo", "opt", "qwen3", "gemma"}
    assert tiny_network(family).is_decoder == (FAMILIES[family].model_type in decoders)


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_are_those_of_the_config(family: str, tiny_network: Callable[[str], Network]):
    network, asked = tiny_network(family), FAMILIES[family].config
    assert network.hidden_size == asked.get("hidden_size", 32)
    assert network.num_layers == asked.get("num_hidden_layers", 2)
    assert network.num_labels == 3
    assert not network.model.training
    assert network.model.dtype == torch.float32


@pytest.mark.parametrize("family", FAMILIES)
def test_the_longest_sentence_fits_and_no_longer_one(family: str, tiny_network: Callable[[str], Network]):
    network = tiny_network(family)
    assert network.max_length == 64
    ids = torch.full((1, 64), 7)
    assert network.model(input_ids=ids).logits.shape == (1, 3)
    # RoBERTa's 66 positions are 64 tokens: the first two stand for padding.
    if network.position_offset:
        with pytest.raises((IndexError, RuntimeError)):
            network.model(input_ids=torch.full((1, 65), 7))


@pytest.mark.parametrize("family", ["bert", "albert", "roberta", "gpt2", "modernbert"])
def test_loading_twice_gives_the_same_bits_and_touches_no_random_numbers(family: str, tiny_folder: Folders):
    source = source_of(tiny_folder(family))
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = (load(source, seed=4).model.state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_is_loaded_in_inference_mode_can_be_trained(tiny_folder: Folders):
    with torch.inference_mode():
        network = load(source_of(tiny_folder("bert")))
    network.model(input_ids=torch.full((1, 4), 7)).logits.sum().backward()
    assert all(part.requires_grad and not part.is_inference() for part in network.model.parameters())


@pytest.mark.parametrize("family", ["bert", "gpt2", "distilbert"])
def test_the_seed_decides_the_head_and_nothing_else(family: str, tiny_folder: Folders):
    source = source_of(tiny_folder(family))
    one, other = (load(source, seed=seed) for seed in (1, 2))
    differing = {
        name
        for name, values in one.model.state_dict().items()
        if not torch.equal(values, other.model.state_dict()[name])
    }
    assert differing
    assert not any(name.startswith(one.model.base_model_prefix + ".") for name in differing)


def test_a_head_of_the_right_size_is_kept_and_another_is_drawn(tiny_folder: Folders, tmp_path: Path):
    network = load(source_of(tiny_folder("gpt2")), num_labels=3, seed=1)
    network.model.save_pretrained(tmp_path)
    network.tokenizer.save_pretrained(tmp_path)
    kept = load(source_of(tmp_path), num_labels=3, seed=2)
    assert torch.equal(kept.head.weight, network.head.weight)
    drawn = load(source_of(tmp_path), num_labels=2, seed=2)
    assert drawn.head.weight.shape == (2, 32)
    assert torch.equal(drawn.head.weight, load(source_of(tiny_folder("gpt2")), num_labels=2, seed=2).head.weight)


def test_a_tokenizer_without_pad_token_pads_with_its_end_token(tiny_network: Callable[[str], Network]):
    network = tiny_network("llama")
    assert network.tokenizer.pad_token == network.tokenizer.eos_token == "<|endoftext|>"
    assert network.pad_id == network.model.config.pad_token_id == network.tokenizer.eos_token_id
    batch = network.tokenizer(["good", "a good film"], padding=True, return_tensors="pt")
    assert network.model(**batch).logits.shape == (2, 3)


def test_the_pad_id_from_which_a_model_counts_its_positions_stays_the_models(copied: Folders, tmp_path: Path):
    folder = copied("roberta")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": 3}))
    network = load(source_of(folder))
    assert network.pad_id == network.tokenizer.pad_token_id != 3
    network.model.save_pretrained(tmp_path / "saved")
    reopened = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    text = network.tokenizer("a good film", return_tensors="pt")
    with torch.inference_mode():
        torch.testing.assert_close(network.model(**text).logits, reopened(**text).logits)


def test_nothing_is_printed(tiny_folder: Folders, capfd: pytest.CaptureFixture[str]):
    load(source_of(tiny_folder("albert")))
    assert capfd.readouterr() == ("", "")


def test_pickled_weights_are_refused(copied: Folders):
    folder = copied("bert")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="can run code"):
        load(source_of(folder))


def test_weights_that_lack_a_block_are_refused(copied: Folders):
    folder = copied("bert")
    rewrite(folder, lambda weights: weights.pop("encoder.layer.1.output.dense.weight"))
    with pytest.raises(UserError, match=r"lack 1 tensors .* 'bert\.encoder\.layer\.1\.output\.dense\.weight'"):
        load(source_of(folder))


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(copied: Folders, tiny_folder: Folders):
    folder = copied("bert")
    shutil.copy(tiny_folder("roberta") / "tokenizer.json", folder)
    with pytest.raises(UserError, match="its tokenizer has"):
        load(source_of(folder))


def test_a_tokenizer_without_any_end_token_is_refused(copied: Folders):
    folder = copied("gpt2")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    kept = {name: value for name, value in settings.items() if name not in ("eos_token", "bos_token")}
    (folder / "tokenizer_config.json").write_text(json.dumps({**kept, "eos_token": None}))
    with pytest.raises(UserError, match="neither a pad nor an end token"):
        load(source_of(folder))


def test_foreign_code_is_not_run(copied: Folders):
    folder = copied("bert")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "unheard_of", "auto_map": {"AutoConfig": "configuration.Mine"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "configuration.py").write_text("raise SystemExit('foreign code was run')")
    with pytest.raises(UserError, match="cannot open"):
        load(source_of(folder))


def test_the_digest_is_that_of_the_contents(copied: Folders, tiny_folder: Folders):
    folder = copied("bert")
    assert digest(source_of(folder)) == digest(source_of(tiny_folder("bert")))
    (folder / "README.md").write_text("not part of the model")
    assert digest(source_of(folder)) == digest(source_of(tiny_folder("bert")))
    rewrite(folder, lambda weights: weights["embeddings.word_embeddings.weight"][0].add_(1e-3))
    assert digest(source_of(folder)) != digest(source_of(tiny_folder("bert")))


DECODERS = ["gpt2", "pythia-70m", "llama", "gpt_neo", "opt", "qwen3", "gemma"]


@pytest.mark.parametrize("family", DECODERS)
def test_a_language_model_is_hugging_faces(family: str, tiny_folder: Folders):
    network = load_language_model(source_of(tiny_folder(family)))
    theirs = AutoModelForCausalLM.from_pretrained(tiny_folder(family)).eval()
    batch = network.tokenizer(["the film is good", "so very sad and dull"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = classify(network, batch)
        for row, length in enumerate(batch["attention_mask"].sum(1)):
            expected = theirs(input_ids=batch["input_ids"][row : row + 1, :length]).logits[0, -1]
            torch.testing.assert_close(logits[row], expected, atol=1e-5, rtol=1e-5)
    assert logits.shape == (2, network.num_labels) == (2, theirs.config.vocab_size)
    assert network.is_decoder
    assert network.head is network.model.get_output_embeddings()
    check(network)


@pytest.mark.parametrize("family", ["bert", "modernbert", "mpnet"])
def test_an_encoder_is_no_language_model(family: str, tiny_folder: Folders):
    with pytest.raises(UserError, match=r"is an encoder, which predicts no next token|cannot open the model"):
        load_language_model(source_of(tiny_folder(family)))


def test_a_decoder_without_its_head_is_refused(copied: Folders):
    folder = copied("pythia-70m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    with pytest.raises(UserError, match="lack 1 tensors"):
        load_language_model(source_of(folder))


def test_the_tokenizer_alone_is_the_networks(tiny_folder: Folders):
    source = source_of(tiny_folder("gpt2"))
    alone, network = load_tokenizer(source), load(source)
    assert alone("a good film")["input_ids"] == network.tokenizer("a good film")["input_ids"]
    assert alone.pad_token_id == network.pad_id


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_are_counted_as_the_config_does(family: str, tiny_network: Callable[[str], Network]):
    network, asked = tiny_network(family), FAMILIES[family].config
    assert network.num_heads == 4
    assert network.num_kv_heads == asked.get("num_key_value_heads", 4)
    assert network.head_dim == asked.get("head_dim", network.hidden_size // 4)
