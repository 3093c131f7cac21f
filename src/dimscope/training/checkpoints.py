"""Checkpoints in Hugging Face's own layout, reopened and compared before they count.

Beside its files lies dimscope.json, which tells what the checkpoint is of and the hash of every file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from dimscope.core.errors import UnknownName, UserError
from dimscope.models.catalogue import ModelSource, find
from dimscope.models.classify import classify
from dimscope.models.load import Network, load
from dimscope.models.quiet import quiet
from dimscope.store.files import new_folder, sha256, write_json
from dimscope.store.layout import Store

_ABOUT = "dimscope.json"
_CLASSIFIER = "ForSequenceClassification"

LARGEST_DIFFERENCE = 1e-5
"""How far, relative to the largest logit, a reopened checkpoint's logits may be from those of the trained network."""


def save_checkpoint(
    folder: Path,
    network: Network,
    label_names: Sequence[str],
    about: Mapping[str, Any],
    probe: Mapping[str, torch.Tensor],
) -> None:
    """Write the network so that `AutoModelForSequenceClassification.from_pretrained` opens it, head included.

    It is reopened and must give the same logits on the batch `probe`; else nothing is left at `folder`.

    Raises:
        RuntimeError: the reopened checkpoint gives other logits.
    """
    network.model.config.id2label = dict(enumerate(label_names))
    network.model.config.label2id = {name: label for label, name in enumerate(label_names)}
    with quiet(), new_folder(folder, replace=True) as new:
        network.model.save_pretrained(new)
        network.tokenizer.save_pretrained(new)
        sign(new, about)
        _require_same_logits(network, new, probe)


def sign(folder: Path, about: Mapping[str, Any]) -> None:
    """Write down what a folder's files are of, and the hash of each."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {str(path.relative_to(folder)): sha256(path) for path in files}
    write_json(folder / _ABOUT, {**about, "sha256": hashes})


def is_intact(folder: Path) -> bool:
    """Tell whether a checkpoint of ours is there with all its files as they were written."""
    try:
        return all(sha256(folder / name) == expected for name, expected in _about(folder)["sha256"].items())
    except (OSError, ValueError, KeyError):
        return False


def checkpoint_source(store: Store, checkpoint: str) -> ModelSource:
    """Find a checkpoint's folder, in the store or anywhere; an absolute path is no alias of the catalogue.

    Raises:
        UnknownName: there is no such folder.
    """
    folder = store.checkpoint(checkpoint) if store.has_checkpoint(checkpoint) else Path(checkpoint)
    if not folder.is_dir():
        raise UnknownName("checkpoint", checkpoint, store.checkpoints(), "A local folder will do too.")
    return find(str(folder.resolve()))


def require_classifier(folder: Path, model: Mapping[str, Any], num_classes: int) -> None:
    """Refuse what is no fine-tuned classifier for so many classes, so that no head is drawn at random in its place.

    `model` is the name and digest of the model that it should have been made from; only checkpoints of ours tell.

    Raises:
        UserError: it has no classifier, one for another number of classes, was made from another model, or is damaged.
    """
    if (folder / _ABOUT).exists():
        if not is_intact(folder):
            raise UserError(f"the checkpoint {folder} is damaged: remove it and run the same fine-tuning again")
        origin = _about(folder)["bench"]["model"]
        if origin["digest"] != model["digest"]:
            raise UserError(f"the checkpoint {folder} was made from {origin['name']}, not from {model['name']}")
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot open the config of the checkpoint {folder}: {error}") from error
    kinds = config.architectures or ["none"]
    if not kinds[0].endswith(_CLASSIFIER):
        raise UserError(
            f"the checkpoint {folder} brings no classifier: wanted a fine-tuned model (…{_CLASSIFIER}), "
            f"got {kinds[0]}. Make one with `dimscope run finetune/full`"
        )
    if config.num_labels != num_classes:
        raise UserError(
            f"the checkpoint {folder} tells {config.num_labels} classes apart, but the task has {num_classes}: "
            "take a checkpoint that was trained on the same classes"
        )


def _about(folder: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    return about


def _require_same_logits(network: Network, folder: Path, probe: Mapping[str, torch.Tensor]) -> None:
    reopened = load(find(str(folder)), network.num_labels, seed=0, device=str(network.device))
    with torch.inference_mode():
        trained, opened = (classify(each, dict(probe)) for each in (network, reopened))
    difference = ((trained - opened).abs().max() / trained.abs().max()).item()
    if not difference <= LARGEST_DIFFERENCE:
        raise RuntimeError(
            f"the checkpoint reopened from {folder} gives other logits: relative difference {difference:.2g}"
        )
