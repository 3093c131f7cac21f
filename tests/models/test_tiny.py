from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from dimscope.core.errors import UnknownName
from dimscope.models.families import FAMILIES
from dimscope.models.tiny import write_tiny

TEXTS = ["the film is good", "a dull story seems so very sad", "the plot was not bad"]


@pytest.mark.parametrize("family", FAMILIES)
def test_hugging_face_opens_it_and_its_states_depend_on_the_text(family: str, tiny_folder: Callable[[str], Path]):
    folder = tiny_folder(family)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = [model(input_ids=tokenizer(text, return_tensors="pt").input_ids).last_hidden_state for text in TEXTS]
    for token in (0, -1):
        spread = torch.stack([state[0, token] for state in states]).std(0).mean()
        same_first_token = token == 0 and FAMILIES[family].tokenizer == "bytes"
        assert spread > 0.05 or same_first_token


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_the_same_seed_writes_the_same_files(family: str, tiny_folder: Callable[[str], Path], tmp_path: Path):
    write_tiny(family, tmp_path / "again")
    write_tiny(family, tmp_path / "other", seed=1)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tiny_folder(family) / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("again", "other"))
    assert one != other


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("bert", ["[CLS]", "good", "film", "[SEP]"]),
        ("roberta", ["<s>", "good", "Ġfilm", "</s>"]),
        ("gpt2", ["good", "Ġfilm"]),
    ],
)
def test_tokens_stand_between_the_familys_special_ones(
    family: str, expected: list[str], tiny_folder: Callable[[str], Path]
):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder(family))
    assert tokenizer.convert_ids_to_tokens(tokenizer("good film").input_ids) == expected


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_words_of_any_text_have_tokens(family: str, tiny_folder: Callable[[str], Path]):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder(family))
    ids = tokenizer("zyx 42, why?").input_ids
    assert tokenizer.unk_token_id is None or tokenizer.unk_token_id not in ids


def test_an_unknown_family_is_named(tmp_path: Path):
    with pytest.raises(UnknownName, match="Did you mean 'gpt2'"):
        write_tiny("gpt3", tmp_path)
