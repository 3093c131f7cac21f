"""What training in a subspace leaves: a few KB that make the fine-tuned model out of its base, to the last bit.

The file holds the trained numbers; the map is drawn again from the seed and compared with its hash. A base with other
weights, a map drawn otherwise, or a damaged file are refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dimscope.core.errors import UserError
from dimscope.core.provenance import digest as digest_of
from dimscope.models.catalogue import find
from dimscope.models.load import Network, digest, load
from dimscope.numerics.projections import VERSIONS, frozen_digest
from dimscope.store.files import write_bytes
from dimscope.training.checkpoints import save_checkpoint
from dimscope.training.subspace import Subspace, SubspaceSettings, weights_digest

FILE = "adapter.safetensors"
"""How the file is called that stands in a checkpoint's folder."""
_ABOUT = "dimscope"


@dataclass(frozen=True)
class Adapter:
    """What a file holds: the trained numbers, and all that it takes to use them."""

    state: dict[str, Tensor]
    settings: SubspaceSettings
    seed: int
    base: str
    """The name of the model that it was trained on."""
    base_digest: str
    """The hash of that model's weights before training, the classifier's first ones included."""
    projection_version: int
    projection_digest: str
    label_names: tuple[str, ...]


def save_adapter(file: Path, subspace: Subspace, label_names: Sequence[str]) -> None:
    """Write the trained numbers of a subspace, whole or not at all."""
    state = {name: tensor.cpu() for name, tensor in subspace.state().items()}
    about = {
        "settings": subspace.settings.model_dump(mode="json", include=set(SubspaceSettings.model_fields)),
        "seed": subspace.seed,
        "base": subspace.network.name,
        "base_digest": subspace.base_digest,
        "projection_version": VERSIONS[subspace.settings.projection],
        "projection_digest": frozen_digest(subspace.projection),
        "label_names": list(label_names),
    }
    write_bytes(file, save(state, {_ABOUT: json.dumps({**about, "digest": _digest(about, state)})}))


def read_adapter(file: Path) -> Adapter:
    """Open a file of `save_adapter`.

    Raises:
        UserError: there is no such file, or it is damaged or none of ours.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            about: dict[str, Any] = json.loads((opened.metadata() or {})[_ABOUT])
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        intact = about.pop("digest") == _digest(about, state)
        settings = SubspaceSettings(**about.pop("settings"))
        adapter = Adapter(state, settings, label_names=tuple(about.pop("label_names")), **about)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no adapter {file}: finetune/random_subspace leaves {FILE} in its checkpoint's folder"
        ) from error
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged, or no adapter of ours: take another copy ({error})") from error
    if not intact:
        raise UserError(f"{file} is damaged: it is not as it was written. Take another copy")
    return adapter


def load_adapter(network: Network, file: Path) -> Adapter:
    """Turn the base into the fine-tuned model, in place; nothing is changed where it is refused.

    The base is what `load(adapter.base, len(adapter.label_names), adapter.seed)` gives.

    Raises:
        UserError: the file cannot be used on this network, see `open_subspace`.
    """
    adapter = read_adapter(file)
    open_subspace(network, file, adapter).set_state(adapter.state)
    return adapter


def open_subspace(network: Network, file: Path, adapter: Adapter) -> Subspace:
    """Give the subspace that the numbers of this file are of, at its start: the base as it is.

    Raises:
        UserError: the network is not the one that the file was trained on, or this version of the library or of NumPy
            draws another map from the seed.
    """
    projection = adapter.settings.projection
    if adapter.projection_version != VERSIONS[projection]:
        raise UserError(
            f"{file} was written for version {adapter.projection_version} of the projection {projection}, and this "
            f"library has version {VERSIONS[projection]}: use a library that has the former"
        )
    came = weights_digest(network.model)
    if came != adapter.base_digest:
        raise UserError(
            f"{file} belongs to {adapter.base!r} with {len(adapter.label_names)} classes and seed {adapter.seed}, "
            f"whose weights have the digest {adapter.base_digest}; {network.name!r} came, with "
            f"{network.num_labels} classes and the digest {came}. Load that base"
        )
    subspace = Subspace(network, adapter.settings, adapter.seed)
    if frozen_digest(subspace.projection) != adapter.projection_digest:
        raise UserError(
            f"the map of {file} cannot be drawn again: take the versions of this library and NumPy it is of"
        )
    return subspace


def merge(file: Path, folder: Path, model: str | None = None) -> None:
    """Write the fine-tuned model as a checkpoint that needs no adapter; `model` says where the base is, if elsewhere.

    Raises:
        UnknownName: the base is not found.
        UserError: the file cannot be used, see `load_adapter`.
    """
    adapter = read_adapter(file)
    source = find(model or adapter.base)
    network = load(source, len(adapter.label_names), adapter.seed)
    load_adapter(network, file)
    about = {"bench": {"model": {"name": source.name, "digest": digest(source)}}}
    probe = network.tokenizer(["a", "a longer one"], padding=True, return_tensors="pt")
    save_checkpoint(folder, network, adapter.label_names, about, probe)


def _digest(about: dict[str, Any], state: dict[str, Tensor]) -> str:
    numbers = {name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for name, tensor in state.items()}
    return digest_of({"about": about, "numbers": numbers})
