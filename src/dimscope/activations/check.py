"""A model's self-check on random tokens: sites are where their names say, and no neighbor changes a state.

The blocks were found by a walk over the modules, so it is proved here that each receives what the one before
gives, and that the last state is what the base model returns. This makes the sites Hugging Face's
`hidden_states`, which itself is not asked for because that would leave hooks of its own in the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from dimscope.activations.capture import states
from dimscope.activations.hooks import AtSite, hooked
from dimscope.core import seeds
from dimscope.core.errors import UserError
from dimscope.models.classify import classify
from dimscope.models.load import Network

LARGEST_DIFFERENCE = 1e-5
"""How far the same state or logit, computed in two ways, may be from itself, relative to the largest value."""

Arguments = ParamSpec("Arguments")
Ids = Int[Tensor, "batch tokens"]


@dataclass(frozen=True)
class Check:
    """One thing that must hold of a model, whether it does, and what was seen."""

    name: str
    holds: bool
    detail: str


def checking(name: str) -> Callable[[Callable[Arguments, str]], Callable[Arguments, Check]]:
    """Turn a function that tells what it saw, or raises where that is wrong, into one that gives a `Check`.

    >>> checking("pads are cheap")(lambda num_pads: f"{num_pads} pads")(3)
    Check(name='pads are cheap', holds=True, detail='3 pads')
    """

    def decorate(look: Callable[Arguments, str]) -> Callable[Arguments, Check]:
        @wraps(look)
        def check(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Check:
            try:
                return Check(name, True, look(*args, **kwargs))
            except UserError as error:
                return Check(name, False, str(error))
            except Exception as error:
                # A model's own code may raise anything; whatever it is, the model cannot be studied.
                return Check(name, False, f"{type(error).__name__}: {error}")

        return check

    return decorate


def check(network: Network, checks: Iterable[Callable[[Network], Check]] | None = None) -> None:
    """Check sites, padding, pooling and classifier, or whatever is given: a few short forward passes.

    >>> from dimscope.models.load import load
    >>> check(load("tiny/gpt2"))

    Raises:
        UserError: something does not hold; the message says what.
    """
    for each in STRUCTURE if checks is None else checks:
        done = each(network)
        if not done.holds:
            raise UserError(
                f"{network.name}: {done.name}: {done.detail}. Its numbers could not be trusted: take a model of "
                "another family. `dimscope check` tells all that holds of it"
            )


@checking("sites found")
@torch.inference_mode()
def sites_found(network: Network) -> str:
    """Every block receives what the one before gives, and `final` is what the base model returns."""
    ids = random_ids(network).to(network.device)
    returned = "what the base model returns"
    seen: dict[str, Tensor] = {}

    def keep(site: str) -> AtSite:
        return lambda values, mask: seen.update({site: values})

    names = [name for name in network.sites.names if name != "logits"]
    with hooked(network.model, {name: keep(name) for name in names}):
        seen[returned] = network.model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
    chain = [(f"layers.{layer}.out", f"layers.{layer + 1}.in") for layer in range(network.num_layers - 1)]
    for giver, receiver in [*chain, ("final", returned)]:
        if giver not in seen or receiver not in seen or not torch.equal(seen[giver], seen[receiver]):
            raise UserError(f"the site {giver!r} is not {receiver!r}; the model is built in a way not known here")
    kind = "decoder" if network.is_decoder else "encoder"
    return f"{kind} of {network.num_layers} layers and {network.hidden_size} dims, {len(names) + 1} sites"


@checking("padding and neighbors change no state")
def padding_changes_nothing(network: Network) -> str:
    """A sentence's state after every block is the same alone and in a batch, wherever the padding stands."""
    ids = random_ids(network)
    alone, unpadded = _states(network, ids[:1, :5])[:, 0], _states(network, ids[:, :5])[:, 0]
    in_batch = require_close(alone, unpadded, "a state alone and in a batch without padding")
    return told(max(in_batch, _padded_difference(network, ids, network.pad_id)))


@checking("the mask decides, not the pad id")
def mask_decides(network: Network) -> str:
    """Where another token than the pad token fills up a batch, every state is the same all the more."""
    ids = random_ids(network)
    return told(_padded_difference(network, ids, filler=int(ids[1, 0])))


@checking("logits are Hugging Face's")
@torch.inference_mode()
def logits_agree(network: Network) -> str:
    """For one sentence without padding, our logits are those of the model's own class."""
    ids = random_ids(network)[:1].to(network.device)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    # A language model's own class gives logits for every token.
    both = classify(network, batch), network.model(**batch)[0].reshape(-1, network.num_labels)[-1:]
    ours, theirs = (logits.float().cpu().numpy() for logits in both)
    return told(require_close(ours, theirs, "our logits and Hugging Face's"))


STRUCTURE = (sites_found, padding_changes_nothing, mask_decides, logits_agree)
"""What is cheap enough to be checked whenever a bench loads a model."""


def random_ids(network: Network, num_sentences: int = 2, num_tokens: int = 8) -> Ids:
    """Draw sentences without special tokens."""
    ordinary = np.setdiff1d(np.arange(len(network.tokenizer)), network.tokenizer.all_special_ids)
    return torch.from_numpy(seeds.stream(0, "check").choice(ordinary, (num_sentences, num_tokens)).astype(np.int64))


def require_close(
    ones: Float[np.ndarray, "vectors dims"],
    others: Float[np.ndarray, "vectors dims"],
    what: str,
    limit: float = LARGEST_DIFFERENCE,
) -> float:
    """Give the largest difference of vectors from their likes, relative to each one's largest value.

    >>> require_close(np.array([[4.0, 2.0]]), np.array([[4.0, 1.0]]), "two states", limit=0.3)
    0.25

    Raises:
        UserError: it is above the limit, or not a number.
    """
    difference = float((np.abs(ones - others).max(axis=1) / np.abs(ones).max(axis=1)).max())
    if not difference <= limit:
        raise UserError(f"{what} differ by {difference:.2g} of the largest value; at most {limit:g} is allowed")
    return difference


def told(difference: float) -> str:
    """Put a difference into words."""
    return f"largest relative difference {difference:.1e}"


def _padded_difference(network: Network, ids: Ids, filler: int) -> float:
    """Compare a short sentence alone with itself padded on the right and on the left, in a batch with a longer one."""
    short, num_pads = ids[:1, :5], ids.shape[1] - 5
    sides = {"right": (0, num_pads), "left": (num_pads, 0)}
    padded = torch.cat([*(pad(short, pads, value=filler) for pads in sides.values()), ids[1:]])
    mask = torch.cat([*(pad(torch.ones_like(short), pads) for pads in sides.values()), torch.ones_like(ids[1:])])
    alone, beside = _states(network, short)[:, 0], _states(network, padded, mask)
    return max(
        require_close(alone, beside[:, row], f"a state alone and with token {filler} as padding on the {side}")
        for row, side in enumerate(sides)
    )


def _states(network: Network, ids: Ids, mask: Ids | None = None) -> Float[np.ndarray, "sites sentences dims"]:
    """Give the states of sentences after every block, and their final ones."""
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids) if mask is None else mask}
    sites = [*(f"layers.{layer}.out" for layer in range(network.num_layers)), "final"]
    return np.stack(list(states(network, [(np.arange(len(ids)), batch)], sites).values()))
