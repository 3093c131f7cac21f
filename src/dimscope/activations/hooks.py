"""Functions called at sites of a model during its forward pass; the only place that registers hooks.

They are removed at the end of the block, whatever happens in it. They are called in the passes of the thread that
opened the block, and in no other's: two threads may read and edit one model at the same time. (Gradient checkpointing
on a GPU runs parts of the pass again in a thread of its own, where they are missing.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from inspect import signature
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from dimscope.models.sites import Site, sites

AtSite = Callable[[Tensor, Tensor], Tensor | None]
"""Takes the values at a site [batch, tokens, dims] and the mask [batch, tokens]; may give new values."""


@contextmanager
def hooked(model: PreTrainedModel, functions: Mapping[str, AtSite]) -> Iterator[None]:
    """Within the block, call each function at its site in every forward pass that this thread makes of the model.

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
            for handle in _register(known[name], function, state):
                stack.callback(handle.remove)
        yield


@contextmanager
def replaced(functions: Mapping[nn.Module, Callable[[Tensor, Tensor], Tensor]]) -> Iterator[None]:
    """Within the block, let each module give what its function makes of the module's input and output."""

    def hook(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[nn.Module, tuple, Tensor], Tensor]:
        thread = get_ident()
        return lambda _, args, output: function(args[0], output) if get_ident() == thread else output

    with ExitStack() as stack:
        for module, function in functions.items():
            stack.callback(module.register_forward_hook(hook(function)).remove)
        yield


class _Pass:
    """The forward pass under way in this thread: its attention mask, and how often each module was called."""

    def __init__(self) -> None:
        self._thread = get_ident()
        self._calls: Counter[tuple[str, nn.Module]] = Counter()
        self.mask = torch.ones(0, 0)

    def begin(self, module: nn.Module, args: tuple, kwargs: Mapping[str, Any] = {}) -> None:
        # In another thread's pass torch may call this while it is being removed, and then without keywords.
        if get_ident() != self._thread:
            return
        inputs = signature(module.forward).bind_partial(*args, **kwargs).arguments
        mask = inputs.get("attention_mask")
        self.mask = torch.ones_like(inputs["input_ids"]) if mask is None else mask
        self._calls.clear()

    def is_turn_of(self, site: Site, module: nn.Module) -> bool:
        """Count a call of one of the site's modules and tell whether it is the site's own."""
        if get_ident() != self._thread:
            return False
        self._calls[site.name, module] += 1
        return self._calls[site.name, module] == site.call + 1


class _AtSite:
    """A function at its site in the pass under way: called once, however many modules take the values."""

    def __init__(self, site: Site, function: AtSite, state: _Pass) -> None:
        self._site, self._function, self._state = site, function, state
        self._given: tuple[Tensor, Tensor] | None = None

    def changed(self, module: nn.Module, values: Tensor) -> Tensor:
        """Give the values that the function leaves at the site."""
        if not self._state.is_turn_of(self._site, module):
            return values
        new = self._given[1] if self._given and self._given[0] is values else self._called(values)
        # The last to take them is the last to hold them.
        is_last = module is (self._site.others or (module,))[-1]
        self._given = None if is_last else (values, new)
        return new

    def _called(self, outputs: Tensor) -> Tensor:
        part = self._site.part
        values = part.of(outputs) if part else outputs
        # OPT's linear maps see the tokens of all sentences in one row.
        is_flat = values.ndim == 2 and self._site.name != "logits"
        mask = self._state.mask
        new = self._function(values.reshape(*mask.shape, -1) if is_flat else values, mask)
        if new is None:
            return outputs
        # What is given may be another number of sentences; only what was unrolled is rolled up again.
        new = new.flatten(0, 1) if is_flat else new
        return part.put(new, outputs) if part else new


def _register(site: Site, function: AtSite, state: _Pass) -> Iterator[RemovableHandle]:
    at_site = _AtSite(site, function, state)

    def at_input(module: nn.Module, args: tuple) -> tuple:
        return (at_site.changed(module, args[0]), *args[1:])

    def at_output(module: nn.Module, args: tuple, output: Tensor | tuple) -> Tensor | tuple:
        if isinstance(output, tuple):
            return (at_site.changed(module, output[0]), *output[1:])
        return at_site.changed(module, output)

    for module in (site.module, *site.others):
        if site.side == "input":
            yield module.register_forward_pre_hook(at_input)
        else:
            yield module.register_forward_hook(at_output)
