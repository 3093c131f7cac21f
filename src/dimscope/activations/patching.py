"""Values of other prompts put into a pass, at one place after another, and along single paths.

Activation patching (Vig et al. 2020, 2004.12265; Meng et al. 2022, 2202.05262): a value at a site is replaced by what
the other prompt has there, and all that follows is computed anew.

Path patching (Wang et al. 2022, 2211.00593, appendix B): a head's output is replaced, all other heads are held at what
they gave, so that what reaches a receiver went there directly (or through MLPs, unless they are held too); then the
pass is run again with nothing but the receiver's input replaced.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dimscope.activations.continuation import Continuation, Values, copies_at_once
from dimscope.activations.hooks import AtSite
from dimscope.core.errors import UserError


@dataclass(frozen=True, eq=False)
class Reading:
    """Which outputs of every sentence are computed, None for all, and what is made of them, batch after batch."""

    columns: Int[Tensor, "batch chosen"] | None = None
    value: Callable[[Float[Tensor, "batch outputs"]], Float[Tensor, "batch *rest"]] = lambda outputs: outputs

    def of(self, outputs: Float[Tensor, "copies batch outputs"]) -> Float[Tensor, "copies batch *rest"]:
        """Give what is made of the outputs of all copies."""
        return torch.stack([self.value(each) for each in outputs])

    def of_unchanged(self, base: Continuation) -> Float[Tensor, "batch *rest"]:
        """Give what is made of the outputs without any patch."""
        # Read in the same way as the patched ones, so that what changes nothing gives the same numbers.
        return self.value(base.outputs(0, {}, columns=self.columns)[0])


WHOLE = Reading()
"""All outputs as they are."""


class Source(Protocol):
    """Where patches take their values from: another run, or values of any other origin."""

    @property
    def kept(self) -> dict[str, Values]:
        """The values at every site."""


@dataclass(frozen=True, eq=False)
class Patch:
    """What is taken from the other prompts: the values at `site`, of one head or all, at one token each or all."""

    site: str
    head: int | None = None
    tokens: Int[Tensor, " batch"] | None = None

    @property
    def layer(self) -> int:
        """The block in which the site is."""
        return layer_of(self.site)


@dataclass(frozen=True)
class Receiver:
    """Whose input a path ends in: the queries, keys or values of a head, or an MLP."""

    layer: int
    part: Literal["q", "k", "v", "mlp"]
    head: int = 0

    @property
    def site(self) -> str:
        """Where its input is replaced."""
        return f"layers.{self.layer}.mlp.in" if self.part == "mlp" else f"layers.{self.layer}.attn.{self.part}"


def layer_of(site: str) -> int:
    """Give the number of the block in which a site is.

    >>> layer_of("layers.3.attn.heads")
    3

    Raises:
        UserError: it is in none.
    """
    parts = site.split(".")
    if parts[0] != "layers":
        raise UserError(f"cannot patch at {site!r}: wanted a site within a block, such as 'layers.3.out'")
    return int(parts[1])


def patched(
    base: Continuation,
    other: Source,
    patches: Sequence[Patch],
    reading: Reading = WHOLE,
    done: Callable[[int], None] = lambda num_patches: None,
) -> Float[Tensor, "patches batch *rest"]:
    """Give what is read of `base` with each patch alone, its values taken from `other`.

    The values must be there at the sites of all patches. `done` is called with the
    number of patches done since.

    Raises:
        UserError: a site is not within a block.
    """
    by_layer = defaultdict(list)
    for number, patch in enumerate(patches):
        by_layer[patch.layer].append(number)
    found: dict[int, Tensor] = {}
    for layer, numbers in by_layer.items():
        for chunk in _chunks(numbers, copies_at_once(base)):
            changes = _changes(base, other, [patches[number] for number in chunk])
            outputs = base.outputs(layer, changes, len(chunk), reading.columns)
            found.update(zip(chunk, reading.of(outputs), strict=True))
            done(len(chunk))
    return torch.stack([found[number] for number in range(len(patches))])


def paths_to_logits(
    base: Continuation,
    other: Continuation,
    senders: Sequence[tuple[int, int]],
    reading: Reading = WHOLE,
    through_mlps: bool = True,
    done: Callable[[int], None] = lambda num_senders: None,
) -> Float[Tensor, "senders batch *rest"]:
    """Give what is read of `base` when each sender (layer, head) reaches them along no other head.

    Only the token that is read is computed: with all heads held, nothing comes from the others. Both must have kept
    `attn.heads` of all layers, and `mlp.out` where MLPs are held.
    """
    rows = torch.arange(base.num_sentences)
    at_ends = {site: values[rows, base.ends - base.start].unsqueeze(1) for site, values in base.kept.items()}
    theirs = {site: values[rows, base.ends - base.start].unsqueeze(1) for site, values in other.kept.items()}
    found: dict[tuple[int, int], Tensor] = {}
    for layer, heads in _heads_by_layer(senders):
        changes = _held(base, layer, at_ends, theirs, heads, through_mlps)
        states = base.hidden(layer, changes, len(heads), tokens=base.ends).unflatten(0, (len(heads), -1))[:, :, 0]
        read = reading.of(base.read(states, reading.columns))
        found.update({(layer, head): each for head, each in zip(heads, read, strict=True)})
        done(len(heads))
    return torch.stack([found[sender] for sender in senders])


def paths_to_receivers(
    base: Continuation,
    other: Continuation,
    senders: Sequence[tuple[int, int]],
    receivers: Sequence[Receiver],
    reading: Reading = WHOLE,
    tokens: Int[Tensor, " batch"] | None = None,
    through_mlps: bool = True,
    done: Callable[[int], None] = lambda num_senders: None,
) -> Float[Tensor, "senders batch *rest"]:
    """Give what is read of `base` when each sender (layer, head) reaches the receivers along no other head.

    The receivers' inputs are replaced at `tokens`, one of each sentence, or at all. A sender that no path leads from
    gives what `base` gives, exactly.
    """
    first, last = (end(receiver.layer for receiver in receivers) for end in (min, max))
    reach = max(receiver.layer + (receiver.part == "mlp") for receiver in receivers)
    found: dict[tuple[int, int], Tensor] = {}
    unchanged = reading.of_unchanged(base)
    for layer, heads in _heads_by_layer(senders):
        for chunk in _chunks(heads, copies_at_once(base)):
            if layer >= reach:
                found.update({(layer, head): unchanged for head in chunk})
                continue
            received = _received(base, other, layer, chunk, receivers, last, through_mlps)
            changes = {site: _receive(base, site, received[site], receivers, tokens) for site in received}
            read = reading.of(base.outputs(first, changes, len(chunk), reading.columns))
            found.update({(layer, head): each for head, each in zip(chunk, read, strict=True)})
            done(len(chunk))
    return torch.stack([found[sender] for sender in senders])


def _changes(base: Continuation, other: Source, patches: Sequence[Patch]) -> dict[str, AtSite]:
    """Give what puts the patches' values into the copies, the first patch's into the first copy and so on."""
    by_site = defaultdict(list)
    for copy, patch in enumerate(patches):
        by_site[patch.site].append((copy, patch))

    def changing(site: str) -> AtSite:
        def change(values: Tensor, mask: Tensor) -> Tensor:
            new = values.clone().unflatten(0, (len(patches), -1))
            for copy, patch in by_site[site]:
                _put(base, new[copy], other.kept[site], patch.head, patch.tokens)
            return new.flatten(0, 1)

        return change

    return {site: changing(site) for site in by_site}


def _put(base: Continuation, values: Values, theirs: Values, head: int | None, tokens: Tensor | None) -> None:
    """Write other values into `values`, of one head or of all, at one token of each sentence or at all."""
    dims = slice(None)
    if head is not None:
        size = base.network.head_dim
        dims = slice(head * size, (head + 1) * size)
    if tokens is None:
        values[..., dims] = theirs[..., dims]
        return
    rows, places = torch.arange(len(values), device=values.device), tokens - base.start
    values[rows, places, dims] = theirs[rows, places, dims]


def _held(
    base: Continuation,
    layer: int,
    ours: Mapping[str, Values],
    theirs: Mapping[str, Values],
    heads: Sequence[int],
    through_mlps: bool,
) -> dict[str, AtSite]:
    """Give what holds all heads from `layer` on, but in each copy one head of `layer` sends the other's values."""

    def held(values: Values) -> AtSite:
        return lambda now, mask: values.repeat(len(heads), 1, 1)

    sending = f"layers.{layer}.attn.heads"
    sent = ours[sending].repeat(len(heads), 1, 1, 1)
    for copy, head in zip(sent, heads, strict=True):
        _put(base, copy, theirs[sending], head, None)
    parts = ["attn.heads"] if through_mlps else ["attn.heads", "mlp.out"]
    sites = [f"layers.{each}.{part}" for each in range(layer, base.network.num_layers) for part in parts]
    return {**{site: held(ours[site]) for site in sites}, sending: lambda now, mask: sent.flatten(0, 1)}


def _received(
    base: Continuation,
    other: Continuation,
    layer: int,
    heads: Sequence[int],
    receivers: Sequence[Receiver],
    last: int,
    through_mlps: bool,
) -> dict[str, Values]:
    """Give what comes to the receivers' sites when, in each copy, one head of `layer` sends the other's values."""
    received: dict[str, Tensor] = {}

    def keep(site: str) -> AtSite:
        def look(values: Tensor, mask: Tensor) -> None:
            received[site] = values

        return look

    sites = {receiver.site for receiver in receivers}
    holding = _held(base, layer, base.kept, other.kept, heads, through_mlps)
    base.hidden(layer, {**holding, **{site: keep(site) for site in sites}}, len(heads), last=last)
    return received


def _receive(
    base: Continuation, site: str, received: Values, receivers: Sequence[Receiver], tokens: Tensor | None
) -> AtSite:
    """Give what puts the received values in the place of the receivers' at this site."""
    heads = [None if each.part == "mlp" else each.head for each in receivers if each.site == site]

    def change(values: Tensor, mask: Tensor) -> Tensor:
        new, copied = values.clone(), None if tokens is None else tokens.repeat(len(values) // base.num_sentences)
        for head in heads:
            _put(base, new, received, head, copied)
        return new

    return change


def _heads_by_layer(senders: Sequence[tuple[int, int]]) -> Iterable[tuple[int, list[int]]]:
    by_layer = defaultdict(list)
    for layer, head in senders:
        by_layer[layer].append(head)
    return by_layer.items()


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
