"""Whether a model can be studied: everything that must hold of it, tried on the model itself and on planted data."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dimscope.activations.capture import states
from dimscope.activations.check import STRUCTURE, Check, checking, random_ids, require_close, told
from dimscope.activations.check_heads import heads_are_apart
from dimscope.activations.edits import Edit, Zero, edit
from dimscope.core.errors import UserError
from dimscope.data.batching import Encoded
from dimscope.models.classify import classify
from dimscope.models.load import Network
from dimscope.training.checkpoints import save_checkpoint
from dimscope.training.loop import TrainingSet, train
from dimscope.training.settings import TrainingSettings

LARGEST_ROUNDING = 1e-4
"""How far float32 states may be from float64's, relative to the largest value."""
TRAINING = TrainingSettings(learning_rate=1e-4, epochs=4, batch_size=16, precision="float32")
"""A few steps, all on the same sentences."""


def soundness(network: Network, seed: int) -> Iterator[Check]:
    """Try everything that must hold, one after the other; where the sites are not found, nothing else can be tried.

    The last two checks train the network in place: give one that was loaded for this.

    >>> from dimscope.models.load import load
    >>> [check.name for check in soundness(load("tiny/gpt2"), seed=1) if not check.holds]
    []
    """
    sites_found, *others = STRUCTURE
    found = sites_found(network)
    yield found
    if found.holds:
        yield from (check(network) for check in (*others, heads_are_apart, edits_undone, rounding_is_small))
        yield training_lowers_the_loss(network, seed)
        yield checkpoint_reopens(network)


@checking("edits are undone")
def edits_undone(network: Network) -> str:
    """Zeros after every block change the logits; afterwards the logits are bit for bit as before."""
    sites = [f"layers.{layer}.out" for layer in range(network.num_layers)]
    before = _logits(network, random_ids(network))
    with edit(network, [Edit(site, Zero()) for site in sites]):
        within = _logits(network, random_ids(network))
    after = _logits(network, random_ids(network))
    if torch.equal(before, within):
        raise UserError("zeros after every block change no logit")
    if not torch.equal(before, after):
        raise UserError("the logits after an edit was undone are not those before it")
    return "logits bit for bit as before, once zeros after every block are taken back"


@checking("float32 is precise enough")
def rounding_is_small(network: Network) -> str:
    """Final states in float32 are those of the same weights in float64, but for rounding."""
    ids = random_ids(network)
    batches = [(np.arange(len(ids)), {"input_ids": ids, "attention_mask": torch.ones_like(ids)})]
    double = replace(network, model=copy.deepcopy(network.model).double())
    exact, rounded = (states(each, batches)["final"] for each in (double, network))
    return told(require_close(exact, rounded, "states in float64 and float32", LARGEST_ROUNDING))


@checking("training lowers the loss")
def training_lowers_the_loss(network: Network, seed: int) -> str:
    """A few steps on sentences whose class is told by one token lower their loss."""
    data = planted(network)
    before = _loss(network, data)
    train(network, data, TRAINING, seed)
    after = _loss(network, data)
    if not after < before:
        raise UserError(f"the loss on a planted task went from {before:.4f} to {after:.4f} nats")
    return f"{before:.3f} to {after:.3f} nats in {TRAINING.epochs} steps on a planted task"


@checking("checkpoint reopens")
def checkpoint_reopens(network: Network) -> str:
    """Saved and opened again, the model gives the same logits."""
    ids = random_ids(network)
    names = [str(label) for label in range(network.num_labels)]
    with TemporaryDirectory() as folder:
        probe = {"input_ids": ids.to(network.device), "attention_mask": torch.ones_like(ids).to(network.device)}
        save_checkpoint(Path(folder) / "checkpoint", network, names, {}, probe)
    return "the same logits after saving and opening"


def planted(network: Network, num_sentences: int = TRAINING.batch_size) -> TrainingSet:
    """Give random sentences of two classes, each beginning and ending with the token that tells its class."""
    ids = random_ids(network, num_sentences).numpy().astype(np.int32)
    labels = np.arange(num_sentences) % 2
    ids[:, 0] = ids[:, -1] = ids[labels, 1]
    return TrainingSet(Encoded(list(ids), None, num_truncated=0, num_empty=0), labels)


def _loss(network: Network, data: TrainingSet) -> float:
    logits = _logits(network, torch.from_numpy(np.stack(data.encoded.ids)).long())
    return cross_entropy(logits, torch.from_numpy(data.labels)).item()


@torch.inference_mode()
def _logits(network: Network, ids: Tensor) -> Tensor:
    return classify(network, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}).float().cpu()
