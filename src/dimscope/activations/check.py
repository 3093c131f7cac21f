"""A model's self-check on random tokens: sites are where their names say, and padding changes no state.

The blocks were found by a walk over the modules, so it is proved here that each receives what the one before
gives, and that the last state is what the base model returns. This makes the sites Hugging Face's
`hidden_states`, which itself is not asked for because that would leave hooks of its own in the model.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from dimscope.activations.capture import states
from dimscope.activations.hooks import AtSite, hooked
from dimscope.core import seeds
from dimscope.core.errors import UserError
from dimscope.models.classify import classify
from dimscope.models.load import Network


def check(network: Network) -> None:
    """Check sites, padding and, for a decoder, the classifier against Hugging Face's own on one sentence.

    Raises:
        UserError: something differs; the message says what.
    """
    ids = torch.from_numpy(_random_ids(network, num_tokens=8))
    _check_sites(network, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    _check_padding(network, ids)
    _check_classifier(network, ids)


def _random_ids(network: Network, num_tokens: int) -> np.ndarray:
    """Draw a batch of one sentence, without special tokens."""
    ordinary = np.setdiff1d(np.arange(len(network.tokenizer)), network.tokenizer.all_special_ids)
    return seeds.stream(0, "check").choice(ordinary, (1, num_tokens)).astype(np.int64)


@torch.inference_mode()
def _check_sites(network: Network, batch: Mapping[str, Tensor]) -> None:
    seen: dict[str, Tensor] = {}

    def keep(site: str) -> AtSite:
        return lambda values, mask: seen.update({site: values})

    inputs = {name: values.to(network.device) for name, values in batch.items()}
    names = [name for name in network.sites.by_name if name != "logits"]
    with hooked(network.model, {name: keep(name) for name in names}):
        seen["what the base model returns"] = network.model.base_model(**inputs).last_hidden_state
    chain = [(f"layers.{layer}.out", f"layers.{layer + 1}.in") for layer in range(network.num_layers - 1)]
    for giver, receiver in [*chain, ("final", "what the base model returns")]:
        if giver not in seen or receiver not in seen or not torch.equal(seen[giver], seen[receiver]):
            raise UserError(
                f"{network.name}: the site {giver!r} is not {receiver!r}. The model is built in a way "
                "that is not known here; take a model of another family."
            )


def _check_padding(network: Network, ids: Tensor) -> None:
    """Compare a short sentence's state alone with its state beside a longer one."""
    short, num_pads = ids[:, :5], ids.shape[1] - 5
    alone = states(network, [(np.array([0]), {"input_ids": short, "attention_mask": torch.ones_like(short)})])
    for side in ("right", "left"):
        pads = (0, num_pads) if side == "right" else (num_pads, 0)
        padded = torch.nn.functional.pad(short, pads, value=network.pad_id)
        mask = torch.nn.functional.pad(torch.ones_like(short), pads)
        batch = {
            "input_ids": torch.cat([padded, ids]),
            "attention_mask": torch.cat([mask, torch.ones_like(ids)]),
        }
        beside = states(network, [(np.array([0, 1]), batch)])
        what = f"a state alone and with padding on the {side}"
        _require_close(network, alone["final"][0], beside["final"][0], what)


@torch.inference_mode()
def _check_classifier(network: Network, ids: Tensor) -> None:
    ids = ids.to(network.device)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    ours, theirs = classify(network, batch).float(), network.model(**batch).logits.float()
    _require_close(network, ours.cpu().numpy(), theirs.cpu().numpy(), "our logits and Hugging Face's")


def _require_close(network: Network, one: np.ndarray, other: np.ndarray, what: str) -> None:
    difference = float(np.abs(one - other).max())
    if not difference <= torch.finfo(network.model.dtype).eps ** 0.5 * max(1.0, float(np.abs(one).max())):
        raise UserError(f"{network.name}: {what} differ by {difference:.2g}. Do not trust its numbers.")
