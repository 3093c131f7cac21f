"""One vocabulary for the places inside a model whose values can be read and changed, for all families.

    embed              what the first block receives                      hidden_states[0] of Hugging Face
    layers.L.in        what block L receives, L = 0, 1, …                 [L]
    layers.L.attn.out  its attention's output projection, before the residual sum and any norm
    layers.L.mlp.out   its second linear map, likewise
    layers.L.out       what block L gives                                 [L + 1], save the last
    final              what the classifier reads, after a final norm      [-1]
    logits             one row per sentence

The blocks are found by walking over the modules. That they are the right ones is not believed but checked, in
a forward pass: `dimscope.activations.check`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from dimscope.core.errors import UnknownName, UserError

# What a family calls the norm after its last block.
_FINAL_NAMES = ("ln_f", "final_layer_norm", "final_layernorm", "final_norm", "norm")


@dataclass(frozen=True)
class Site:
    """The input or output of a module, at its `call`-th call in a pass: ALBERT's blocks are one module."""

    name: str
    module: nn.Module
    side: Literal["input", "output"]
    call: int = 0


@dataclass(frozen=True)
class Sites:
    """The sites of one model by name; `post_norm` says whether `final` comes after a norm of its own."""

    by_name: dict[str, Site]
    num_layers: int
    post_norm: bool

    @property
    def names(self) -> list[str]:
        """All names, in the order in which they are reached."""
        return list(self.by_name)

    def __getitem__(self, name: str) -> Site:
        """Give the site of that name.

        Raises:
            UnknownName: the model has no such site; the message names those that it has.
        """
        if name in self.by_name:
            return self.by_name[name]
        last = self.num_layers - 1
        hint = f"Layers L are counted from 0 to {last}."
        parts = [f"layers.L.{part}" for part in ("in", "attn.out", "mlp.out", "out")]
        raise UnknownName("site", name, ["embed", *parts, "final", "logits"], hint)


def sites(model: PreTrainedModel) -> Sites:
    """Find the sites of a sequence classifier.

    Raises:
        UserError: its blocks, or an attention or linear map in one, are not where other families have them.
    """
    stack, blocks = _blocks(model)
    found = [Site("embed", blocks[0][0], "input")]
    for layer, (block, call) in enumerate(blocks):
        attention_map, mlp_map = _output_maps(block)
        found += [
            Site(f"layers.{layer}.in", block, "input", call),
            Site(f"layers.{layer}.attn.out", attention_map, "output", call),
            Site(f"layers.{layer}.mlp.out", mlp_map, "output", call),
            Site(f"layers.{layer}.out", block, "output", call),
        ]
    norm = _final_norm(model, stack)
    last_block, last_call = blocks[-1]
    found += [
        Site("final", norm, "output") if norm else Site("final", last_block, "output", last_call),
        Site("logits", head(model), "output"),
    ]
    return Sites({site.name: site for site in found}, len(blocks), post_norm=norm is not None)


def head(model: PreTrainedModel) -> nn.Linear:
    """Give the linear map that makes the logits: the last one outside the base model."""
    inside = set(model.base_model.modules())
    return [part for part in model.modules() if isinstance(part, nn.Linear) and part not in inside][-1]


def _blocks(model: PreTrainedModel) -> tuple[nn.ModuleList, list[tuple[nn.Module, int]]]:
    """Give the list of blocks and, for every layer, its block and which call of that block it is."""
    num_layers = model.config.num_hidden_layers
    num_blocks = getattr(model.config, "num_hidden_groups", num_layers)
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == num_blocks:
            order = [layer * num_blocks // num_layers for layer in range(num_layers)]
            return module, [(module[block], order[:layer].count(block)) for layer, block in enumerate(order)]
    raise UserError(
        f"cannot find the blocks of {type(model).__name__}: wanted one list of {num_blocks} modules "
        "(num_hidden_layers of its config), came none. Take a model of another family."
    )


def _output_maps(block: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Give the linear maps through which attention and MLP write; each is the last one of its part."""
    maps = [part for part in block.modules() if isinstance(part, nn.Linear | Conv1D)]
    named = [set(part.modules()) for name, part in block.named_modules() if "att" in name.rpartition(".")[2]]
    # Norms and dropouts around the attention bear its name too, but hold no maps.
    attention_maps = next(filter(None, ([part for part in maps if part in inside] for inside in named)), [])
    mlp_maps = [part for part in maps if part not in attention_maps]
    if not attention_maps or not mlp_maps:
        raise UserError(f"cannot tell attention from MLP in {type(block).__name__}. Take another family.")
    return attention_maps[-1], mlp_maps[-1]


def _final_norm(model: PreTrainedModel, stack: nn.ModuleList) -> nn.Module | None:
    """Give what runs after the last block: it stands beside the list of blocks."""
    parent = next(module for module in model.base_model.modules() if stack in module.children())
    beside = dict(parent.named_children())
    return next((beside[name] for name in _FINAL_NAMES if beside.get(name) is not None), None)
