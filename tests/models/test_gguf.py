from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from dimscope.core.errors import UserError
from dimscope.models.folders import SMOLLM2
from dimscope.models.gguf import convert
from dimscope.store.packages import fetch


def test_without_the_extra_package_its_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'dimscope\[gguf\]'"):
        convert(tmp_path / "model.gguf", tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.registry
@pytest.mark.slow
@torch.inference_mode()
def test_logits_are_the_same_bits_before_and_after(tmp_path: Path):
    file = fetch(SMOLLM2) / SMOLLM2.members[0]
    convert(file, tmp_path / "converted")
    tokenizers = (
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name),
        AutoTokenizer.from_pretrained(tmp_path / "converted"),
    )
    models = (
        AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32),
        AutoModelForCausalLM.from_pretrained(tmp_path / "converted", dtype=torch.float32),
    )
    before, after = (
        model(**tokenizer("When Mary and John went to the store, it's", return_tensors="pt")).logits
        for model, tokenizer in zip(models, tokenizers, strict=True)
    )
    assert torch.equal(before, after)
