"""What becomes of the answer when chosen heads are made to look at chosen tokens, beside as many random heads.

At one token, the rows of the heads' attention patterns become 0 but for equal shares on the named tokens; all else is
computed as ever. Merullo, Eickhoff & Pavlick 2024 (2310.08744) make the inhibition heads and the negative mover head of
the indirect-object circuit look at the two wrong colors. How the answers are told, and the random heads, which they
draw none of here, is `dimscope.scoring.chosen_heads`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field, field_validator

from dimscope.activations.continuation import Continuation
from dimscope.activations.forcing import forced, looking_at, outputs_forced, require_places
from dimscope.activations.patterns import attention_patterns
from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Array, Number, Result
from dimscope.data.batching import prompt_batches
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.load import Network
from dimscope.scoring.chosen_heads import (
    CHOSEN,
    NOTHING,
    compared,
    heads_named,
    mean,
    others,
    require_names,
    right,
    too_few,
)
from dimscope.scoring.known import Answered


class ForceAttention(Method):
    """Accuracy and logit difference before and after the rows of named heads' patterns are overwritten."""

    sources = ("Merullo, Eickhoff & Pavlick 2024 (2310.08744), the attention intervention",)

    heads: tuple[str, ...] = ()
    """Heads that are made to look elsewhere, as layer.head: 17.4."""
    toward: tuple[str, ...] = Field(("other_color", "third_color"), min_length=1)
    """Named tokens that they look at, each equally; as given, the wrong colors of prompts/colored_objects."""
    token: str = "end"
    """The named token at which they look there."""
    watched: tuple[str, ...] = ()
    """Heads of which is told what they look at from that token, before and after."""
    num_draws: int = Field(10, ge=1)
    """Draws of as many other heads of the same layers, the control."""

    @field_validator("heads", "watched")
    @classmethod
    def _well_formed(cls, heads: tuple[str, ...]) -> tuple[str, ...]:
        return require_names(heads)

    def run(self, bench: Bench) -> Result:
        """Answer all prompts with nothing forced, with the chosen heads, and with random ones.

        Raises:
            UnknownName: the prompts have no such token.
            UserError: no head is named, or the model has no such head; or the tokens come after the one that looks.
        """
        network, pairs = bench.network, bench.pairs
        heads, watched = (heads_named(each, network) for each in (self.heads, self.watched))
        if not heads:
            raise UserError("wanted heads to force, such as --heads 17.4 20.1: locate/path_patching finds some")
        require_places(pairs, network, self.toward, self.token)
        rng = seeds.stream(bench.seed, "random heads")
        draws = [others(heads, network.num_heads, rng) for _ in range(self.num_draws)]
        before, after, *random = self._answers(network, pairs, [[], heads, *draws])
        chance = Number(name="chance_accuracy", value=pairs.is_right.mean(), where={"among": "options"})
        looks = self._looks(network, pairs, heads, watched) if watched else {}
        return Result(
            numbers=[*compared("forced", before, after, random), chance, *_attention(looks)],
            arrays={"is_right": right("forced", before, after, random), **looks},
            notes=[*pairs.notes, *too_few(heads, network.num_heads)],
        )

    def _answers(
        self, network: Network, pairs: PromptPairs, choices: Sequence[Sequence[tuple[int, int]]]
    ) -> list[Answered]:
        """Answer all prompts once for each choice of forced heads; what comes before the token is computed once."""
        answered = [Answered.empty(len(pairs)) for _ in choices]
        with work("prompts", len(pairs) * len(choices)) as done:
            for indices, chosen, batch in prompt_batches(pairs):
                tokens = chosen.places[self.token]
                base, rows = Continuation(network, batch, start=int(tokens.min())), looking_at(chosen, self.toward)
                for each, of in zip(choices, answered, strict=True):
                    of.fill(indices, outputs_forced(base, rows, tokens, [each])[0].float(), chosen)
                    done(len(indices))
        return answered

    @torch.inference_mode()
    def _looks(
        self,
        network: Network,
        pairs: PromptPairs,
        heads: Sequence[tuple[int, int]],
        watched: Sequence[tuple[int, int]],
    ) -> dict[str, Array]:
        """Give what the watched heads look at, of the named tokens, with nothing forced and with the chosen heads."""
        places = [name for name in pairs.places if name != self.token]
        layers = sorted({layer for layer, _ in watched})
        shares = np.empty((2, len(watched), len(places), len(pairs)), np.float32)
        for indices, chosen, batch in prompt_batches(pairs):
            rows = np.arange(len(indices))
            for when, each in enumerate(([], heads)):
                with forced(network, chosen, each, self.toward, self.token):
                    patterns = attention_patterns(network, batch, layers)
                for number, (layer, head) in enumerate(watched):
                    row = patterns[layer][rows, head, chosen.places[self.token]].float().cpu().numpy()
                    for place, name in enumerate(places):
                        shares[when, number, place, indices] = row[rows, chosen.places[name]]
        ticks = {"forced": (NOTHING, CHOSEN), "head": [f"{layer}.{head}" for layer, head in watched], "place": places}
        return {"attention": Array(shares, ("forced", "head", "place", "pair"), ticks=ticks)}


def _attention(looks: dict[str, Array]) -> list[Number]:
    """Give the share of attention that each named token has of the watched heads, on average, and its change."""
    numbers = []
    for looked in looks.values():
        of_heads = looked.values.mean(axis=1, dtype=np.float64)
        for place, (before, after) in zip(looked.ticks["place"], of_heads.swapaxes(0, 1), strict=True):
            for what, values in ((NOTHING, before), (CHOSEN, after)):
                numbers.append(mean("watched_attention", values, forced=what, place=place))
            numbers.append(mean("watched_attention_change", after - before, place=place))
    return numbers
