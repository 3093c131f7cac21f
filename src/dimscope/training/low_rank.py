"""Low-rank adapters in a network's linear maps, by peft: W x becomes W x + (α / r) B A x, of which A and B are trained.

Hu et al. 2021 (2106.09685, section 4.1). B starts at 0, so training starts at the pretrained model; A is drawn from the
seed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from dimscope.core import seeds
from dimscope.core.errors import UserError
from dimscope.core.method import Settings
from dimscope.models.load import Network
from dimscope.models.quiet import quiet
from dimscope.store.files import new_folder
from dimscope.training.chosen import body_parameters, head_parameters


class LowRankSettings(Settings):
    """Which linear maps get an adapter, and of what rank."""

    rank: int = Field(8, ge=1)
    """Rank r of what is added to a linear map."""
    alpha: float = Field(16.0, gt=0)
    """What is added is scaled by alpha / rank."""
    targets: str = "attention"
    """Linear maps with an adapter: attention, all, last_layer, or a pattern of their weights' names such as
    '*query*'."""
    head: Literal["trained", "frozen"] = "trained"
    """Whether the classifier is trained fully beside the adapters, or stays as it is."""


class LowRank:
    """A network with adapters in its linear maps, which take the place of the plain ones.

    Raises:
        UserError: peft is not installed, or no linear map is called so.
    """

    def __init__(self, network: Network, settings: LowRankSettings, seed: int) -> None:
        peft, self._network = _peft(), network
        targets = _linear_maps(network.model, settings.targets)
        config = peft.LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            target_modules=list(targets),
            modules_to_save=_head_modules(network.model) if settings.head == "trained" else None,
            # Conv1D holds its weight the other way round.
            fan_in_fan_out=any(isinstance(each, Conv1D) for each in targets.values()),
        )
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # what peft calls of transformers is not the user's concern
            torch.default_generator.manual_seed(seeds.integer(seed, "low rank"))
            self._adapted: Any = peft.get_peft_model(network.model, config)
        self.num_trained_head = sum(each.numel() for each in self._trained(head_parameters(network.model)).values())

    @property
    def num_trained(self) -> int:
        """The number of trained parameters, a trained head's included."""
        return sum(parameter.numel() for parameter in self._trained().values())

    def state(self) -> dict[str, Tensor]:
        """Give a copy of all that is trained."""
        return {name: parameter.detach().clone() for name, parameter in self._trained().items()}

    @torch.no_grad()
    def set_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        for name, parameter in self._trained().items():
            parameter.copy_(state[name])

    def merged(self) -> Network:
        """Give a plain network of its own, with the adapters summed into its maps."""
        with quiet():
            model = deepcopy(self._adapted).merge_and_unload()
        return replace(self._network, model=model.eval())

    def save(self, folder: Path) -> None:
        """Write the adapter in peft's own layout, which `PeftModel.from_pretrained` opens on the base."""
        with quiet(), new_folder(folder, replace=True) as new:
            self._adapted.save_pretrained(new, save_embedding_layers=False)

    def _trained(self, among: Mapping[str, nn.Parameter] | None = None) -> dict[str, nn.Parameter]:
        named = dict(self._network.model.named_parameters()) if among is None else among
        return {name: parameter for name, parameter in named.items() if parameter.requires_grad}


def _peft() -> Any:
    try:
        return import_module("peft")
    except ImportError as error:
        raise UserError("low-rank adapters need an extra package: pip install 'dimscope[lora]'") from error


def _linear_maps(model: PreTrainedModel, targets: str) -> dict[str, nn.Module]:
    """Give the linear maps of the base model whose weights are chosen, by name."""
    chosen = set(body_parameters(model, targets).values())
    maps = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear | Conv1D)}
    found: dict[str, nn.Module] = {name: part for name, part in maps.items() if part.weight in chosen}
    if not found:
        raise UserError(
            f"no linear map of the base is among {targets!r}: wanted all, attention, last_layer, or a pattern of names "
            f"such as '*{next(iter(maps)).rpartition('.')[2]}*'"
        )
    return found


def _head_modules(model: PreTrainedModel) -> list[str]:
    """Give the modules that hold the head, as peft wants them named."""
    beside = (name for name, _ in model.named_children() if name != model.base_model_prefix)
    return [name for name in beside if any(True for _ in model.get_submodule(name).parameters())]
