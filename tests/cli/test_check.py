"""`dimscope check MODEL`: a table and 0 where all holds, the reason and 2 where not, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

SMALL = {
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    "openai-gpt": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "t5": {"d_model": 32, "num_layers": 2, "num_heads": 4, "d_ff": 64, "d_kv": 8},
    "bart": {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "max_position_embeddings": 64},
    "funnel": {"d_model": 32, "block_sizes": [1, 1], "n_head": 4, "d_head": 8, "d_inner": 64},
    "mobilebert": {"hidden_size": 32, "embedding_size": 32, "intra_bottleneck_size": 32, "num_hidden_layers": 2},
    "qwen2": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
}


def written(family: str, tokenizer: Path, folder: Path) -> Path:
    """Write a tiny random model of a family that the catalogue does not have."""
    config = AutoConfig.for_model(family, vocab_size=360, pad_token_id=0, **SMALL[family])
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder / "model")
    return folder


def test_a_sound_model_passes(dimscope, tmp_path):
    checked = dimscope("check tiny/gpt2 --device cpu --seed 2", tmp_path)
    assert (checked.code, checked.err.strip()) == (0, "")
    assert "decoder of 2 layers and 32 dims" in checked.out
    assert checked.out.count(" yes ") == 9
    assert not list(tmp_path.iterdir())


def test_a_family_that_is_not_listed_goes_the_general_path(dimscope, tiny_folder, tmp_path):
    checked = dimscope("check model", written("qwen2", tiny_folder("gpt2"), tmp_path))
    assert checked.code == 0
    assert checked.out.count(" yes ") == 9


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("xlnet", "cannot tell attention from MLP in XLNetLayer"),
        ("openai-gpt", "sites found"),
        ("funnel", "the site 'layers.0.out' is not 'layers.1.in'"),
        ("mobilebert", "the mask decides, not the pad id"),
        ("t5", "t5 models are encoder-decoders: wanted an encoder or a decoder alone"),
        ("bart", "bart models are encoder-decoders: wanted an encoder or a decoder alone"),
    ],
)
def test_what_cannot_be_studied_is_refused_with_the_reason(dimscope, tiny_folder, tmp_path, family, reason):
    folder = written(family, tiny_folder("gpt2"), tmp_path)
    checked = dimscope("check model", folder)
    assert checked.code == 2
    assert reason in " ".join((checked.out + checked.err).split())
    assert "Traceback" not in checked.err
    ran = dimscope("run measure/outlier_dimensions --model model --task tiny.csv --out out", with_reviews(folder))
    assert ran.code == 2
    assert reason in " ".join(ran.err.split())


def with_reviews(folder: Path) -> Path:
    (folder / "tiny.csv").write_text("text,label\n" + "".join(f"film {row},{row % 2}\n" for row in range(40)))
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("check tiny/gtp2", "Did you mean 'tiny/gpt2'?"),
        ("check tiny/gpt2 --device tpu", "wanted the device 'auto', 'cpu' or 'cuda', got 'tpu'"),
        ("check tiny/gpt2 --seed -1", "seed"),
        ("check", "MODEL"),
    ],
)
def test_mistakes_are_told(dimscope, tmp_path, words, message):
    checked = dimscope(words, tmp_path)
    assert checked.code == 2
    assert message.lower() in checked.err.lower()
