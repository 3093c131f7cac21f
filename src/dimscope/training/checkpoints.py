"""Checkpoints in Hugging Face's own layout, reopened and compared before they count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dimscope.models.catalogue import find
from dimscope.models.classify import classify
from dimscope.models.load import Network, load
from dimscope.store.files import new_folder, write_json

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
    with new_folder(folder, replace=True) as new:
        network.model.save_pretrained(new)
        network.tokenizer.save_pretrained(new)
        write_json(new / "dimscope.json", dict(about))
        _require_same_logits(network, new, probe)


def _require_same_logits(network: Network, folder: Path, probe: Mapping[str, torch.Tensor]) -> None:
    reopened = load(find(str(folder)), network.num_labels, seed=0, device=str(network.device))
    with torch.inference_mode():
        trained, opened = (classify(each, dict(probe)) for each in (network, reopened))
    difference = ((trained - opened).abs().max() / trained.abs().max()).item()
    if not difference <= LARGEST_DIFFERENCE:
        raise RuntimeError(
            f"the checkpoint reopened from {folder} gives other logits: relative difference {difference:.2g}"
        )
