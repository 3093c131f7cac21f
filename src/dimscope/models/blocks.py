"""The blocks of a model and the linear maps in them, found by a walk over its modules.

That they are the right ones is not believed but checked, in a forward pass: `dimscope.activations.check`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from dimscope.core.errors import UserError

Map = nn.Linear | Conv1D

# What a family calls the norm after its last block.
_FINAL_NAMES = ("ln_f", "final_layer_norm", "final_layernorm", "final_norm", "norm")


def weight(linear: nn.Module) -> Float[Tensor, "outputs inputs"]:
    """Give the matrix of a linear map; GPT-2 keeps its transposed.

    >>> weight(nn.Linear(3, 2)).shape, weight(Conv1D(2, 3)).shape
    (torch.Size([2, 3]), torch.Size([2, 3]))
    """
    matrix = linear.weight
    assert isinstance(matrix, Tensor)
    return matrix.T if isinstance(linear, Conv1D) else matrix


def bias(linear: nn.Module) -> Float[Tensor, " outputs"]:
    """Give the bias of a linear map; zeros where it has none.

    >>> bias(nn.Linear(3, 2, bias=False))
    tensor([0., 0.])
    """
    return linear.bias if isinstance(linear.bias, Tensor) else weight(linear).new_zeros(len(weight(linear)))


def size(linear: Map) -> tuple[int, int]:
    """Give the numbers of outputs and inputs of a linear map, whatever its weights are kept as.

    >>> size(nn.Linear(3, 2)), size(Conv1D(2, 3))
    ((2, 3), (2, 3))
    """
    return (linear.nf, linear.nx) if isinstance(linear, Conv1D) else (linear.out_features, linear.in_features)


@dataclass(frozen=True)
class Maps:
    """The linear maps of one block by their modules' names: those that read, and those that write to the stream."""

    attention: dict[str, Map]
    attention_out: Map
    mlp: dict[str, Map]
    mlp_out: Map


def head(model: PreTrainedModel) -> nn.Linear:
    """Give the linear map that makes the logits: the last one outside the base model."""
    inside = set(model.base_model.modules())
    return [part for part in model.modules() if isinstance(part, nn.Linear) and part not in inside][-1]


def blocks(model: PreTrainedModel) -> tuple[nn.ModuleList, list[tuple[nn.Module, int]]]:
    """Give the list of blocks and, for every layer, its block and which call of that block it is.

    Raises:
        UserError: no list of modules has as many as the model has layers.
    """
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


def maps(block: nn.Module, num_dims: int) -> Maps:
    """Tell attention's linear maps from the MLP's; the last one of each that gives so many dims writes to the stream.

    Raises:
        UserError: they cannot be told apart.
    """
    found = {name: part for name, part in block.named_modules() if isinstance(part, nn.Linear | Conv1D)}
    # Norms and dropouts around the attention bear its name too, but hold no maps.
    attention = next(filter(None, _inside_attention(block, found)), {})
    mlp = {name: part for name, part in found.items() if name not in attention}
    writing = [[name for name, linear in each.items() if size(linear)[0] == num_dims] for each in (attention, mlp)]
    if not all(writing):
        raise UserError(f"cannot tell attention from MLP in {type(block).__name__}. Take another family.")
    attention_out, mlp_out = (each.pop(names[-1]) for each, names in zip((attention, mlp), writing, strict=True))
    return Maps(attention, attention_out, mlp, mlp_out)


def final_norm(model: PreTrainedModel, stack: nn.ModuleList) -> nn.Module | None:
    """Give what runs after the last block: it stands beside the list of blocks."""
    parent = next(module for module in model.base_model.modules() if stack in module.children())
    beside = dict(parent.named_children())
    return next((beside[name] for name in _FINAL_NAMES if beside.get(name) is not None), None)


def _inside_attention(block: nn.Module, found: dict[str, Map]) -> Iterator[dict[str, Map]]:
    for name, part in block.named_modules():
        if "att" in name.rpartition(".")[2]:
            inside = set(part.modules())
            yield {each: linear for each, linear in found.items() if linear in inside}
