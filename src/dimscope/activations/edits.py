"""Within a block, values at chosen sites, tokens, heads and dims are others: zero, given, swapped, moved, rotated.

Edits at different sites take effect as the forward pass reaches them; several at one site in the order in which they
are given; and where blocks nest, those of the inner block after those of the outer. They hold for the thread that
opened the block. An edit gives new values and never writes into the model's own tensors, so that after the block all is
bit for bit as before.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dimscope.activations.hooks import AtSite, hooked
from dimscope.activations.patterns import patterned
from dimscope.activations.places import Places, Tokens, by_number, require_whole_sentences
from dimscope.core.errors import UserError
from dimscope.models.load import Network
from dimscope.models.pooling import default_pooling, pooled_token

_PATTERN = re.compile(r"layers\.(\d+)\.attn\.pattern")

Chosen = Float[Tensor, "batch chosen dims"]
"""What stands at the edited tokens of a site; a value makes others of it, for all dims of the site."""
Whole = Float[Tensor, "batch tokens dims"]


@dataclass(frozen=True)
class Zero:
    """Nothing at all."""

    def new(self, old: Chosen, whole: Whole, places: Places) -> Chosen:
        """Give zeros."""
        return torch.zeros_like(old)


@dataclass(frozen=True, eq=False)
class Constant:
    """The same vector for every sentence, such as the mean state; over all dims of the site."""

    vector: Float[np.ndarray, " dims"]

    def new(self, old: Chosen, whole: Whole, places: Places) -> Chosen:
        """Give the vector for every token."""
        return _vector(self.vector, old).expand_as(old)


@dataclass(frozen=True, eq=False)
class Swap:
    """The values of sentence `order[i]` of the same batch for sentence i, token for token.

    Past its end a shorter sentence gives those of its last token.
    """

    order: Int[np.ndarray, " batch"]

    def new(self, old: Chosen, whole: Whole, places: Places) -> Chosen:
        """Give the values of the other sentences' tokens of the same number."""
        order = torch.as_tensor(self.order, device=old.device)
        first, last = (pooled_token(places.mask[order], end).unsqueeze(1) for end in ("first", "last"))
        return whole[order.unsqueeze(1), torch.minimum(first + places.numbers, last)]


@dataclass(frozen=True, eq=False)
class Replace:
    """Given values for every sentence and edited token; where all are edited, token after token of each sentence.

    Padding keeps what it has, and what is given past a sentence's end is not used.
    """

    values: Float[np.ndarray, "batch chosen dims"] | Chosen

    def new(self, old: Chosen, whole: Whole, places: Places) -> Chosen:
        """Give the given values."""
        given = torch.as_tensor(self.values, dtype=old.dtype, device=old.device)
        num_tokens = int(places.mask.sum(1).max()) if places.are_all else old.shape[1]
        fits = given.shape[1] >= num_tokens if places.are_all else given.shape[1] == num_tokens
        if given.ndim != 3 or (given.shape[0], given.shape[2]) != (old.shape[0], old.shape[2]) or not fits:
            raise UserError(
                f"wanted values of the shape {(old.shape[0], num_tokens, old.shape[2])} (sentences, edited tokens, "
                f"dims of the site), came {tuple(given.shape)}"
            )
        if not places.are_all:
            return given
        return torch.where(places.are_real.unsqueeze(-1), by_number(given, places.numbers, 1), old)


@dataclass(frozen=True, eq=False)
class Add:
    """A vector more, such as a direction to steer along; over all dims of the site."""

    vector: Float[np.ndarray, " dims"]

    def new(self, old: Chosen, whole: Whole, places: Places) -> Chosen:
        """Give the sum."""
        return old + _vector(self.vector, old)


@dataclass(frozen=True)
class Scale:
    """So many times what stands there."""

    factor: float

    def new(self, old: Chosen, whole: Whole, places: Places) -> Chosen:
        """Give the product."""
        return old * self.factor


@dataclass(frozen=True, eq=False)
class Rotate:
    """The part within a subspace rotated, all else left: x + Bᵀ(R − 1)Bx.

    The rows of `basis` are orthonormal. Any `rotation` will do: with 0 the subspace is projected out, with −1 mirrored.
    """

    basis: Float[np.ndarray, "k dims"]
    rotation: Float[np.ndarray, "k k"]

    def __post_init__(self) -> None:
        k = len(self.basis)
        if self.rotation.shape != (k, k) or not np.allclose(self.basis @ self.basis.T, np.eye(k), atol=1e-4):
            raise UserError(
                f"wanted a basis with orthonormal rows and a rotation of {k} by {k}, came a rotation of "
                f"{self.rotation.shape}, or rows that are not orthonormal: take those of a QR decomposition"
            )

    def new(self, old: Chosen, whole: Whole, places: Places) -> Chosen:
        """Give the values with the subspace rotated."""
        basis = torch.as_tensor(self.basis, dtype=old.dtype, device=old.device)
        _require_size(basis.shape[1], old)
        change = torch.as_tensor(self.rotation, dtype=old.dtype, device=old.device) - torch.eye(len(basis)).to(basis)
        return old + old @ basis.T @ change.T @ basis


@dataclass(frozen=True, eq=False)
class Rows:
    """What the edited tokens attend to, in an attention pattern: shares of all keys, in the order of the sentence.

    There is one row a head of the model, or a single one for all heads, and likewise for the edited tokens. Keys past
    a sentence's end get nothing. That a row sums up to 1 is up to the caller.
    """

    rows: Float[np.ndarray, "batch heads chosen keys"]

    def new(self, old: Chosen, whole: Whole, places: Places) -> Chosen:
        """Give the rows where the batch has its keys, head after head."""
        keys = Places.of("all", places.mask, "first")
        given = torch.as_tensor(self.rows, dtype=old.dtype, device=old.device)
        num_heads = old.shape[-1] // places.mask.shape[1]
        if given.ndim != 4 or len(given) != len(old) or given.shape[1] not in (1, num_heads):
            raise UserError(
                f"wanted rows [{len(old)} sentences, {num_heads} heads or 1, edited tokens or 1, keys], "
                f"came {tuple(given.shape)}"
            )
        if places.are_all and given.shape[2] > 1:
            given = by_number(given, places.numbers, 2)
        if given.shape[2] not in (1, old.shape[1]):
            raise UserError(f"wanted rows for {old.shape[1]} edited tokens or 1, came {given.shape[2]}")
        reached = keys.are_real & (keys.numbers < given.shape[3])
        by_key = torch.where(reached[:, None, None], by_number(given, keys.numbers, 3), 0)
        shape = (len(old), num_heads, old.shape[1], places.mask.shape[1])
        return by_key.expand(shape).transpose(1, 2).flatten(2)


_OF_EACH = (Swap, Replace, Rows)
Value = Zero | Constant | Swap | Replace | Add | Scale | Rotate | Rows


@dataclass(frozen=True, eq=False)
class Edit:
    """Put `value` into the states at `site`: into chosen dims, or those of chosen heads, of chosen tokens.

    Dims and heads are all of them if not chosen; heads there are at attn.q, k, v and heads, and in a pattern, whose
    site is `layers.L.attn.pattern` and whose value is `Rows`. Tokens are counted in each sentence from its first real
    one, wherever the padding stands.
    """

    site: str
    value: Value
    dims: Sequence[int] | None = None
    heads: Sequence[int] | None = None
    tokens: Tokens = "all"


@contextmanager
def edit(network: Network, edits: Sequence[Edit]) -> Iterator[None]:
    """Within the block, edit every forward pass that this thread makes of the network.

    >>> from dimscope.models.classify import classify
    >>> from dimscope.models.load import load
    >>> network = load("tiny/gpt2")
    >>> batch = network.tokenizer(["good film", "so sad"], padding=True, return_tensors="pt")
    >>> with edit(network, [Edit("final", Zero())]):
    ...     classify(network, batch).abs().max().item()
    0.0

    Raises:
        UnknownName: the model has no such site.
        UserError: an edit is none that can be made there; a dim, head or token is not one of the model's or sentence's.
    """
    at_sites: defaultdict[str, list[AtSite]] = defaultdict(list)
    at_patterns: defaultdict[int, list[AtSite]] = defaultdict(list)
    sites = network.sites
    for one in edits:
        of_pattern = _PATTERN.fullmatch(one.site)
        _require_fitting(one, is_pattern=bool(of_pattern))
        if of_pattern:
            at_patterns[int(of_pattern[1])].append(_change(network, one, network.num_heads))
        else:
            at_sites[one.site].append(_change(network, one, sites[one.site].num_heads))
    with ExitStack() as stack:
        stack.enter_context(hooked(network.model, {site: _in_turn(changes) for site, changes in at_sites.items()}))
        if at_patterns:
            of_layers = {layer: _in_turn(changes) for layer, changes in at_patterns.items()}
            stack.enter_context(patterned(network, of_layers))
        yield


def _in_turn(changes: Sequence[AtSite]) -> AtSite:
    def change(values: Tensor, mask: Tensor) -> Tensor:
        for each in changes:
            new = each(values, mask)
            values = values if new is None else new
        return values

    return change


def _require_fitting(one: Edit, is_pattern: bool) -> None:
    if isinstance(one.value, Rows) != is_pattern or (is_pattern and one.dims is not None):
        raise UserError(f"rows of heads are for layers.L.attn.pattern, and nothing else is; got {one.site!r}")
    if one.dims is not None and one.heads is not None:
        raise UserError(f"wanted dims or heads to edit at {one.site!r}, came both: leave one of them out")
    if isinstance(one.value, Rotate) and (one.dims is not None or one.heads is not None):
        raise UserError("a rotation is one of all dims: leave dims and heads out, and choose a basis within them")


def _change(network: Network, one: Edit, num_heads: int) -> AtSite:
    pooling = default_pooling(network)
    if one.heads is not None:
        _require_heads(one, num_heads)
    is_of_all_alike = isinstance(one.tokens, str) and one.tokens == "all" and not isinstance(one.value, _OF_EACH)

    def change(values: Tensor, mask: Tensor) -> Tensor:
        if not is_of_all_alike:
            require_whole_sentences()
        if values.ndim == 2:  # the logits of sentences: as if of one token
            return change(values.unsqueeze(1), torch.ones_like(mask[:, :1])).squeeze(1)
        places = Places.of(one.tokens, mask, pooling)
        old = places.take(values)
        new = one.value.new(old, values, places)
        chosen = _dims(one, values.shape[-1], num_heads)
        return places.put(new if chosen is None else torch.where(chosen.to(new.device), new, old), values)

    return change


def _dims(one: Edit, num_dims: int, num_heads: int) -> Bool[Tensor, " dims"] | None:
    """Tell which dims are edited; None stands for all."""
    if one.dims is None and one.heads is None:
        return None
    chosen = torch.zeros(num_dims, dtype=torch.bool)
    if one.heads is not None:
        chosen.unflatten(0, (num_heads, -1))[np.asarray(one.heads, np.int64)] = True
    elif one.dims is not None:
        outside = [dim for dim in one.dims if not 0 <= dim < num_dims]
        if outside:
            raise UserError(f"cannot edit dim {outside[0]}: the dims at this site are 0 to {num_dims - 1}.")
        chosen[np.asarray(one.dims, np.int64)] = True
    return chosen


def _require_heads(one: Edit, num_heads: int) -> None:
    if not num_heads:
        raise UserError(f"cannot edit heads at {one.site!r}: there are heads at layers.L.attn.q, k, v, heads, pattern")
    outside = [head for head in one.heads or () if not 0 <= head < num_heads]
    if outside:
        raise UserError(f"cannot edit head {outside[0]} at {one.site!r}: the heads there are 0 to {num_heads - 1}")


def _vector(given: Float[np.ndarray, " dims"], old: Chosen) -> Float[Tensor, " dims"]:
    vector = torch.as_tensor(given, dtype=old.dtype, device=old.device)
    _require_size(len(vector), old)
    return vector


def _require_size(num_dims: int, old: Chosen) -> None:
    if num_dims != old.shape[-1]:
        raise UserError(f"wanted a vector over all {old.shape[-1]} dims of the site, came one of {num_dims}")
