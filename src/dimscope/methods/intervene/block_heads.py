"""What becomes of the answer when chosen heads send nothing, beside as many random heads.

Merullo, Eickhoff & Pavlick 2024 (2310.08744) put zero in the place of the value vectors of content-gatherer heads. A
head gives a weighted sum of its values, so that is the same as zero in the place of what it gives, at all tokens, which
is what we do: where heads share their values, the chosen ones alone are silenced. How the answers are told is
`dimscope.scoring.chosen_heads`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from pydantic import Field, field_validator

from dimscope.activations.edits import Edit, Zero, edit
from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.result import Number, Result
from dimscope.models.load import Network
from dimscope.scoring.chosen_heads import compared, heads_named, others, require_names, right, too_few
from dimscope.scoring.known import answer


class BlockHeads(Method):
    """Accuracy and logit difference before and after named heads are silenced at all tokens."""

    sources = ("Merullo, Eickhoff & Pavlick 2024 (2310.08744), the blocked content gatherers",)

    heads: tuple[str, ...] = ()
    """Heads that send nothing, as layer.head: 17.4."""
    num_draws: int = Field(10, ge=1)
    """Draws of as many other heads of the same layers, the control."""

    @field_validator("heads")
    @classmethod
    def _well_formed(cls, heads: tuple[str, ...]) -> tuple[str, ...]:
        return require_names(heads)

    def run(self, bench: Bench) -> Result:
        """Answer all prompts with nothing blocked, with the chosen heads, and with random ones.

        Raises:
            UserError: no head is named, or the model has no such head.
        """
        network, pairs = bench.network, bench.pairs
        heads = heads_named(self.heads, network)
        if not heads:
            raise UserError("wanted heads to block, such as --heads 17.4 20.1: locate/path_patching finds some")
        rng = seeds.stream(bench.seed, "random heads")
        draws = [others(heads, network.num_heads, rng) for _ in range(self.num_draws)]
        answered = []
        for each in ([], heads, *draws):
            with blocked(network, each):
                answered.append(answer(network, pairs))
        before, after, *random = answered
        chance = Number(name="chance_accuracy", value=pairs.is_right.mean(), where={"among": "options"})
        return Result(
            numbers=[*compared("blocked", before, after, random), chance],
            arrays={"is_right": right("blocked", before, after, random)},
            notes=[*pairs.notes, *too_few(heads, network.num_heads)],
        )


def blocked(network: Network, heads: Sequence[tuple[int, int]]) -> AbstractContextManager[None]:
    """Within the block, heads (layer, head) send nothing from any token.

    Raises:
        UserError: the model has no such head.
    """
    return edit(network, [Edit(f"layers.{layer}.attn.heads", Zero(), heads=[head]) for layer, head in heads])
