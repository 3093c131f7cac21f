"""Which heads turn the answer when they are made to look at chosen tokens, each head alone.

Merullo, Eickhoff & Pavlick 2024 (2310.08744) force four heads together and tell how far the effect of the intervention
goes with a head's importance by path patching. Here every head of the model is forced alone, as in
`dimscope.activations.forcing`: its row of the attention pattern at one token, and nothing else.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from pydantic import Field

from dimscope.activations.continuation import Continuation, copies_at_once
from dimscope.activations.forcing import looking_at, outputs_forced, require_places
from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.progress import work
from dimscope.core.result import Array, Number, Result
from dimscope.data.batching import prompt_batches
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.load import Network
from dimscope.scoring.chosen_heads import mean
from dimscope.scoring.known import Taken, taken
from dimscope.scoring.metrics import logit_difference

_CHANGE = "change_of_logit_difference"


class HeadForcing(Method):
    """The change of the answer when each head alone is made to look at chosen tokens."""

    sources = ("Merullo, Eickhoff & Pavlick 2024 (2310.08744), the attention intervention",)

    toward: tuple[str, ...] = Field(("other_color", "third_color"), min_length=1)
    """Named tokens that a head looks at, each equally; as given, the wrong colors of prompts/colored_objects."""
    token: str = "end"
    """The named token at which it looks there."""
    taken: Taken = "known"
    """Which pairs are looked at: those whose prompt the model has right, or all."""
    num_shown: int = Field(10, ge=1)
    """Heads that are told as numbers; the array holds all."""

    def run(self, bench: Bench) -> Result:
        """Force every head, each alone.

        Raises:
            UnknownName: the prompts have no such token.
            UserError: the tokens come after the one that looks, or the model has none of the prompts right.
        """
        network = bench.network
        pairs, numbers = taken(network, bench.pairs, self.taken)
        require_places(pairs, network, self.toward, self.token)
        unforced, *forced = self._differences(network, pairs)
        change = np.array(forced) - unforced
        of_heads = change.mean(axis=1).reshape(network.num_layers, -1)
        numbers = [
            *numbers,
            mean("mean_logit_difference", unforced, forced="nothing"),
            *self._largest(change, of_heads),
        ]
        return Result(numbers=numbers, arrays={"change": Array(of_heads, ("layer", "head"))}, notes=pairs.notes)

    def _differences(self, network: Network, pairs: PromptPairs) -> Float[np.ndarray, "one_and_heads pairs"]:
        """Give the answer's logit over the other's with nothing forced, and with each head forced."""
        heads = [(layer, head) for layer in range(network.num_layers) for head in range(network.num_heads)]
        found = np.empty((1 + len(heads), len(pairs)))
        with work("heads", len(heads) * len(pairs)) as done:
            for indices, chosen, batch in prompt_batches(pairs):
                tokens = chosen.places[self.token]
                base, rows = Continuation(network, batch, start=int(tokens.min())), looking_at(chosen, self.toward)
                asked = chosen.answers, chosen.others
                found[0, indices] = logit_difference(outputs_forced(base, rows, tokens, [[]])[0].float(), *asked).cpu()
                # Heads of one layer go together: a pass begins at the first layer that is forced in it.
                size = min(copies_at_once(base), network.num_heads)
                for start in range(0, len(heads), size):
                    copies = [[head] for head in heads[start : start + size]]
                    logits = outputs_forced(base, rows, tokens, copies).float()
                    for number, each in enumerate(logits, start=1 + start):
                        found[number, indices] = logit_difference(each, *asked).cpu()
                    done(len(copies) * len(indices))
        return found

    def _largest(
        self, change: Float[np.ndarray, "heads pairs"], of_heads: Float[np.ndarray, "layers heads"]
    ) -> list[Number]:
        """Tell the heads that change most, and as the control the median of all."""
        size, numbers = np.abs(of_heads.ravel()), []
        for rank, place in enumerate(np.argsort(-size, kind="stable")[: self.num_shown], start=1):
            layer, head = divmod(int(place), of_heads.shape[1])
            numbers.append(mean(_CHANGE, change[place], layer=layer, head=head, rank=rank))
        return [*numbers, Number(name=f"median_absolute_{_CHANGE}", value=float(np.median(size)))]
