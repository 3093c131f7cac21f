"""Which parameters of a classifier are trained: one naming rule for every method that trains a part.

The classifier's head is always among them, for it has learned nothing yet. `biases` with it is BitFit (Ben Zaken,
Goldberg & Ravfogel 2022, 2106.10199, section 3): every bias, those of the norms and of the pooler included.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from dimscope.core.errors import UserError
from dimscope.models.sites import sites

Parameters = dict[str, nn.Parameter]
"""Parameters by name; tied ones stand once."""


def head_parameters(model: PreTrainedModel) -> Parameters:
    """Give the parameters outside the base model, which make a classifier of it."""
    inside = set(model.base_model.parameters())
    return {name: parameter for name, parameter in model.named_parameters() if parameter not in inside}


def body_parameters(model: PreTrainedModel, chosen: str) -> Parameters:
    """Give the parameters of the base model that are chosen.

    Args:
        model: a classifier.
        chosen: all, without_embeddings, attention, biases, last_layer (the last block), head (none of them), or a
            pattern of their names such as '*.query.*'.

    Raises:
        UserError: no parameter is called so, or the model has no such part.
    """
    parameters = _chosen(model, chosen) - set(head_parameters(model).values())
    return {name: parameter for name, parameter in model.named_parameters() if parameter in parameters}


def chosen_parameters(model: PreTrainedModel, chosen: str) -> Parameters:
    """Give the chosen parameters of the base model, and the head's."""
    return {**body_parameters(model, chosen), **head_parameters(model)}


def train_only(model: nn.Module, parameters: Iterable[nn.Parameter]) -> None:
    """Freeze all other parameters: they get no gradient, and no optimizer of ours takes them."""
    trained = {id(parameter) for parameter in parameters}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in trained)


def _chosen(model: PreTrainedModel, chosen: str) -> set[nn.Parameter]:
    named = _NAMED.get(chosen)
    return named(model) if named else _called(model, chosen)


def _without_embeddings(model: PreTrainedModel) -> set[nn.Parameter]:
    return set(model.parameters()) - _within(part for part in model.modules() if isinstance(part, nn.Embedding))


def _attention(model: PreTrainedModel) -> set[nn.Parameter]:
    named = (part for name, part in model.named_modules() if "att" in name.rpartition(".")[2])
    # Norms beside the attention may bear its name, but hold no maps.
    return _within(part for part in named if any(isinstance(each, nn.Linear | Conv1D) for each in part.modules()))


def _biases(model: PreTrainedModel) -> set[nn.Parameter]:
    biases = {parameter for name, parameter in model.base_model.named_parameters() if name.endswith("bias")}
    if not biases:
        raise UserError(
            f"{type(model).__name__} has no biases: wanted all, without_embeddings, attention, last_layer, head, or a "
            "pattern of names"
        )
    return biases


def _last_layer(model: PreTrainedModel) -> set[nn.Parameter]:
    found = sites(model)
    last, first = (found[f"layers.{layer}.out"].module for layer in (found.num_layers - 1, 0))
    if last is first and found.num_layers > 1:
        raise UserError(f"all layers of {type(model).__name__} are one block: the last one cannot be trained alone")
    return set(last.parameters())


def _called(model: PreTrainedModel, pattern: str) -> set[nn.Parameter]:
    names = dict(model.named_parameters(remove_duplicate=False))
    found = {parameter for name, parameter in names.items() if fnmatchcase(name, pattern)}
    if not found:
        raise UserError(
            f"no parameter is called {pattern!r}: wanted {', '.join(_NAMED)}, or a pattern such as '*weight' for names "
            f"such as {list(names)[len(names) // 2]!r}"
        )
    return found


def _within(parts: Iterable[nn.Module]) -> set[nn.Parameter]:
    return {parameter for part in parts for parameter in part.parameters()}


_NAMED = {
    "all": lambda model: set(model.parameters()),
    "without_embeddings": _without_embeddings,
    "attention": _attention,
    "biases": _biases,
    "last_layer": _last_layer,
    "head": lambda model: set(),
}
