"""Texts that look like mistakes and are none: the commands take them."""

from __future__ import annotations

import json

import pytest

TEXTS = {
    "empty texts": [("", "bad"), ("", "good"), ("a film", "bad"), ("good", "good")] * 5,
    "blanks": [("   ", "bad"), ("good", "good")] * 5,
    "one word": [("sad", "bad"), ("good", "good")],
    "longer than the model": [("sad " * 500, "bad"), ("good " * 500, "good")],
    "no known letter": [("電影", "bad"), ("🎬🎬", "good")],
    "line breaks and quotes": [('a "film"\nis', "bad"), ("it's, good", "good")],
}


@pytest.mark.parametrize("model", ["tiny/bert", "tiny/gpt2"])
@pytest.mark.parametrize("texts", TEXTS, ids=str)
def test_what_is_odd_but_right_works(dimscope, tmp_path, model, texts):
    rows = [
        {"text": f"{text}{number}" if text.strip() else text, "label": label}
        for number, (text, label) in enumerate(TEXTS[texts] * 6)
    ]
    (tmp_path / "odd.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ran = dimscope(f"run finetune/full --model {model} --task odd.jsonl --out out", tmp_path)
    assert ran.code == 0, ran.err
    assert "accuracy" in ran.out
