"""A llama.cpp file (GGUF) made into an ordinary folder, once: safetensors, config, tokenizer.

transformers reads the file but refuses to save what it read ("quantized with gguf"), though the weights are
plain floats by then. So they are written here, without the output map where it is tied to the embedding.
"""

from __future__ import annotations

import importlib.util
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from dimscope.core.errors import UserError
from dimscope.core.progress import say
from dimscope.models.quiet import quiet
from dimscope.store.files import new_folder


def convert(file: Path, target: Path) -> None:
    """Write the model in `file` to the folder `target`, in float32; logits stay bit for bit the same.

    Raises:
        UserError: the package that reads the format is not installed.
    """
    if importlib.util.find_spec("gguf") is None:
        raise UserError("reading GGUF files needs an extra package: pip install 'dimscope[gguf]'")
    say(f"converting {file.name} to safetensors (once; about a minute)")
    # The reader of the format draws a bar that has no switch.
    with quiet(), redirect_stderr(StringIO()), new_folder(target) as unfinished:
        model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        weights = model.state_dict()
        if model.config.tie_word_embeddings:
            del weights["lm_head.weight"]
        save_file(weights, unfinished / "model.safetensors", {"format": "pt"})
        del model.config.quantization_config
        model.config.save_pretrained(unfinished)
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(unfinished)
