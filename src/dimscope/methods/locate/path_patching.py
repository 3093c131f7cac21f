"""Which heads act on the logits, or on other heads' queries, keys and values, directly: along no other head.

A sender's output is taken from the counterfactual while all other heads are held at the prompt's; what then reaches the
receiver replaces the receiver's input in a second pass. Wang et al. 2022 (2211.00593), section 3 and appendix B. The
share is (patched − prompt) / (counterfactual − prompt), Merullo, Eickhoff & Pavlick 2024 (2310.08744), section 3, as a
ratio of means over pairs. Their public code freezes heads at one token and multiplies by −100; we hold them at all
tokens, fold and center no weights, and compute only the token that is read where the logits receive.
"""

from __future__ import annotations

import re
from typing import Literal, cast

import numpy as np
import torch
from pydantic import Field, field_validator

from dimscope.activations.continuation import both, bytes_at_once
from dimscope.activations.patching import Reading, Receiver, paths_to_logits, paths_to_receivers
from dimscope.core.bench import Bench
from dimscope.core.errors import UnknownName, UserError
from dimscope.core.method import Method
from dimscope.core.progress import say, work
from dimscope.core.result import Array, Number, Result
from dimscope.models.load import Network
from dimscope.scoring.known import Taken, taken
from dimscope.scoring.metrics import bound
from dimscope.scoring.patching import numbers_of, shares

_RECEIVER = re.compile(r"(\d+)\.(?:(\d+)\.([qkv])|mlp)")
_SENDER = re.compile(r"(\d+)\.(\d+)")


class PathPatching(Method):
    """The share of the answer's change that each head sends directly to the logits, or to chosen receivers."""

    sources = (
        "Wang, Variengien, Conmy, Shlegeris & Steinhardt 2022 (2211.00593), section 3, appendix B",
        "Merullo, Eickhoff & Pavlick 2024 (2310.08744), section 3",
    )

    receivers: tuple[str, ...] = ("logits",)
    """Where the paths end: logits, or layer.head.q (k, v; of grouped heads the group's number) and layer.mlp."""
    senders: tuple[str, ...] = ()
    """Heads that send, such as 17.4; none named: every head of the model."""
    token: str = "all"
    """The named token at which receivers other than logits take what is sent, such as end; all of them."""
    mlps: Literal["free", "held"] = "free"
    """Whether paths may lead through MLPs."""
    metric: Literal["logit_difference", "probability", "log_probability"] = "logit_difference"
    """What is read of the answer."""
    taken: Taken = "known"
    """Which pairs are looked at: those whose prompt the model has right, or all."""
    num_shown: int = Field(10, ge=1)
    """Heads that are told as numbers; the array holds all."""

    @field_validator("receivers")
    @classmethod
    def _well_formed(cls, receivers: tuple[str, ...]) -> tuple[str, ...]:
        if receivers == ("logits",) or (receivers and all(_RECEIVER.fullmatch(each) for each in receivers)):
            return receivers
        raise ValueError(f"wanted 'logits' alone, or receivers such as '17.4.q' and '20.mlp', got {receivers}")

    @field_validator("senders")
    @classmethod
    def _are_heads(cls, senders: tuple[str, ...]) -> tuple[str, ...]:
        if all(map(_SENDER.fullmatch, senders)) and len(set(senders)) == len(senders):
            return senders
        raise ValueError(f"wanted different heads such as '17.4', got {senders}")

    def run(self, bench: Bench) -> Result:
        """Follow the paths of every sender.

        Raises:
            UnknownName: the prompts have no such token.
            UserError: the model has none of the prompts right, is no decoder, or has no such sender or receiver.
        """
        network: Network = bench.network
        if not network.is_decoder:
            raise UserError(
                "path patching wants a decoder, whose tokens do not see those after them; take another model"
            )
        receivers = [self._receiver(each, network) for each in self.receivers if each != "logits"]
        pairs, of_known = taken(network, bench.pairs, self.taken)
        if self.token != "all" and self.token not in pairs.places:
            raise UnknownName("token", self.token, ["all", *pairs.places])
        prompts, counterfactuals = both(network, pairs, ["attn.heads", "mlp.out"])
        reading = Reading(*bound(self.metric, pairs.answers, pairs.others))
        senders = self._senders(network)
        say(f"{len(pairs)} pairs, each pass about {bytes_at_once(prompts) / 2**20:.0f} MiB")
        through = self.mlps == "free"
        with work("senders", len(senders)) as done:
            if receivers:
                tokens = None if self.token == "all" else torch.from_numpy(pairs.places[self.token])
                found = paths_to_receivers(prompts, counterfactuals, senders, receivers, reading, tokens, through, done)
            else:
                found = paths_to_logits(prompts, counterfactuals, senders, reading, through, done)
        ends = [reading.of_unchanged(each).cpu().numpy() for each in (prompts, counterfactuals)]
        scores = shares(found.cpu().numpy(), *ends)
        of_heads = np.full((network.num_layers, network.num_heads), np.nan)
        of_heads[tuple(np.transpose(senders))] = scores.mean(axis=1)
        path = " ".join(self.receivers)
        places: list[dict[str, str | int]] = [{"path": path, "layer": layer, "head": head} for layer, head in senders]
        means = [
            Number(name=f"mean_{self.metric}", value=float(each.mean()), where={"text": text})
            for text, each in zip(("prompt", "counterfactual"), ends, strict=True)
        ]
        return Result(
            numbers=[*of_known, *numbers_of(scores, places, self.num_shown), *means],
            arrays={"share": Array(of_heads, ("layer", "head"))},
            notes=pairs.notes,
        )

    def _senders(self, network: Network) -> list[tuple[int, int]]:
        heads = [(layer, head) for layer in range(network.num_layers) for head in range(network.num_heads)]
        named = [(int(layer), int(head)) for layer, head in (name.split(".") for name in self.senders)]
        for head in named:
            if head not in heads:
                raise UserError(
                    f"no head {head[0]}.{head[1]}: layers are 0 to {network.num_layers - 1}, heads 0 to "
                    f"{network.num_heads - 1}"
                )
        return named or heads

    def _receiver(self, name: str, network: Network) -> Receiver:
        layer, head, part = _parts(name)
        num_heads = network.num_heads if part in (None, "q") else network.num_kv_heads
        if int(layer) >= network.num_layers or int(head or 0) >= num_heads:
            raise UserError(
                f"no receiver {name!r}: layers are 0 to {network.num_layers - 1}, heads of {part or 'q'} 0 to "
                f"{num_heads - 1}"
            )
        if part is None:
            return Receiver(int(layer), "mlp")
        return Receiver(int(layer), part, int(head or 0))


def _parts(name: str) -> tuple[str, str | None, Literal["q", "k", "v"] | None]:
    """Give layer, head and part of a well-formed receiver; of an MLP's the layer alone."""
    layer, _, rest = name.partition(".")
    head, _, part = rest.partition(".")
    return (layer, head, cast(Literal["q", "k", "v"], part)) if part else (layer, None, None)
