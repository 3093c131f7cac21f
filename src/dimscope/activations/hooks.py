"""Functions called at sites of a model during its forward pass; the only place that registers hooks.

They are removed at the end of the block, whatever happens in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dimscope.models.sites import Site, sites

AtSite = Callable[[Tensor, Tensor], Tensor | None]
"""Takes the values at a site [batch, tokens, dims] and the mask [batch, tokens]; may give new values."""


@contextmanager
def hooked(model: PreTrainedModel, functions: Mapping[str, AtSite]) -> Iterator[None]:
    """Within the block, call each function at its site in every forward pass of the model.

    What a function gives takes the place of the values; None leaves them. Blocks nest: at one site the outer
    block's function comes first.

    Raises:
        UnknownName: the model has no such site.
    """
    known = sites(model)
    state = _Pass()
    with ExitStack() as stack:
        begin = model.base_model.register_forward_pre_hook(state.begin, with_kwargs=True)
        stack.callback(begin.remove)
        for name, function in functions.items():
            stack.callback(_register(known[name], function, state).remove)
        yield


class _Pass:
    """The forward pass under way: its attention mask, and how often each site's module was called."""

    def __init__(self) -> None:
        self.mask = torch.ones(0, 0)
        self.calls: dict[str, int] = {}

    def begin(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        inputs = signature(module.forward).bind_partial(*args, **kwargs).arguments
        mask = inputs.get("attention_mask")
        self.mask = torch.ones_like(inputs["input_ids"]) if mask is None else mask
        self.calls = {}

    def is_turn_of(self, site: Site) -> bool:
        """Count a call of the site's module and tell whether it is the site's own."""
        call = self.calls.get(site.name, 0)
        self.calls[site.name] = call + 1
        return call == site.call


def _register(site: Site, function: AtSite, state: _Pass) -> Any:
    def changed(values: Tensor) -> Tensor:
        """Give the values that the function leaves at the site."""
        if not state.is_turn_of(site):
            return values
        # OPT's linear maps see the tokens of all sentences in one row.
        is_flat = values.ndim == 2 and site.name != "logits"
        new = function(values.reshape(*state.mask.shape, -1) if is_flat else values, state.mask)
        if new is None:
            return values
        # What is given may be another number of sentences; only what was unrolled is rolled up again.
        return new.flatten(0, 1) if is_flat else new

    def at_input(module: nn.Module, args: tuple) -> tuple:
        return (changed(args[0]), *args[1:])

    def at_output(module: nn.Module, args: tuple, output: Tensor | tuple) -> Tensor | tuple:
        return (changed(output[0]), *output[1:]) if isinstance(output, tuple) else changed(output)

    if site.side == "input":
        return site.module.register_forward_pre_hook(at_input)
    return site.module.register_forward_hook(at_output)
