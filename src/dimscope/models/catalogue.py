"""Which models there are and where their weights lie; light, so that listing them takes no time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dimscope.core.errors import UnknownName, UserError
from dimscope.models.families import FAMILIES


@dataclass(frozen=True)
class ModelSource:
    """A model by the name that the user gave it, and the place of its weights.

    `location` is a hub id, the name of a registry model, a tiny family or a folder, as `kind` says.
    """

    name: str
    kind: Literal["hub", "package", "tiny", "folder"]
    location: str
    description: str = ""
    family: str = ""


_HUB = {
    "bert": ("google-bert/bert-base-cased", "bert", "BERT base, cased"),
    "distbert": ("distilbert/distilbert-base-cased", "distilbert", "DistilBERT base, cased"),
    "distilbert": ("distilbert/distilbert-base-cased", "distilbert", "the same under its usual name"),
    "albert": ("albert/albert-base-v2", "albert", "ALBERT base v2; all layers share their weights"),
    "roberta": ("FacebookAI/roberta-base", "roberta", "RoBERTa base"),
    "gpt2": ("openai-community/gpt2", "gpt2", "GPT-2 small"),
    "pythia-70m": ("EleutherAI/pythia-70m-deduped", "gpt_neox", "Pythia 70M, deduplicated"),
    "pythia-160m": ("EleutherAI/pythia-160m-deduped", "gpt_neox", "Pythia 160M, deduplicated"),
    "pythia-410m": ("EleutherAI/pythia-410m-deduped", "gpt_neox", "Pythia 410M, deduplicated"),
}
_PACKAGES = {
    "minilm": ("bert", "MiniLM L6, 384 dims, a sentence-embedding encoder"),
    "smollm2": ("llama", "SmolLM2 135M Instruct, 576 dims; its weights are already rounded to 4 bits"),
}
_CATALOGUE = {
    source.name: source
    for source in [
        *(ModelSource(name, "package", name, text, family) for name, (family, text) in _PACKAGES.items()),
        *(ModelSource(name, "hub", hub_id, text, family) for name, (hub_id, family, text) in _HUB.items()),
        *(
            ModelSource(f"tiny/{name}", "tiny", name, "random weights: for trials", family.model_type)
            for name, family in FAMILIES.items()
        ),
    ]
}


def models() -> dict[str, str]:
    """Give the aliases, each with a line on it: from package registry and hub, and tiny random.

    >>> models()["gpt2"]
    'GPT-2 small'
    """
    return {name: source.description for name, source in _CATALOGUE.items()}


def find(name: str) -> ModelSource:
    """Give the source of a model: an alias, else a local folder in Hugging Face's layout, else a hub id.

    >>> find("gpt2").location
    'openai-community/gpt2'

    Raises:
        UnknownName: it is none of the three.
        UserError: it is a folder without a config.json.
    """
    if name in _CATALOGUE:
        return _CATALOGUE[name]
    if name and Path(name).is_dir():
        return _folder(name)
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) and not name.startswith("tiny/"):
        return ModelSource(name, "hub", name)
    raise UnknownName("model", name, models(), "A local folder or a hub id 'owner/name' will do too.")


def _folder(name: str) -> ModelSource:
    if not (Path(name) / "config.json").is_file():
        raise UserError(
            f"the folder {name!r} holds no config.json. Wanted: a model as `save_pretrained` writes it "
            "(config.json, *.safetensors, tokenizer files)."
        )
    return ModelSource(name, "folder", name, "local folder")
