"""Greater than: 'The war lasted from the year 1732 to the year 17' goes on with a number above 32.

Hanna, Liu & Variengien 2023 (2305.00586), section 2. There a year is two tokens, 17 and 32, and the counterfactual
starts in 01; ours starts in another, smaller number, so that both are ordinary years. Where the tokenizer writes every
digit apart, the tens are compared: the first year ends with 9, so that only greater tens are right ('1739' goes on
with '4' … '9'). All right numbers count as right, in prompt and counterfactual; of the answer and the other the prompt
allows the first alone, the counterfactual both.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from transformers import PreTrainedTokenizerBase

from dimscope.core.errors import UserError
from dimscope.core.seeds import stream
from dimscope.data.prompts.drafts import Draft, distinct
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.data.prompts.tokens import follow_by_one, tokenized

NUM_OPTIONS = 10

_NAME = "prompts/greater_than"
_CENTURIES = ("11", "12", "13", "14", "15", "16", "17", "18")
_EVENTS = (
    "war siege journey drought project alliance construction expedition conflict campaign dispute revolt "
    "famine partnership occupation reign"
)
_TWO_DIGITS = tuple(f"{number:02d}" for number in range(2, 99))
_TENS = tuple("0123456789")


def greater_than(tokenizer: PreTrainedTokenizerBase, num_pairs: int, seed: int) -> PromptPairs:
    """Draw prompts with the places start, the number to compare with, and end; ten numbers are the options.

    Raises:
        UserError: years are not a century and a number to the tokenizer, or there are not so many pairs.
    """
    behind, numbers = "", _usable(tokenizer, _TWO_DIGITS)
    if not numbers:
        behind, numbers = "9", _usable(tokenizer, _TENS)
    if not numbers:
        raise UserError(
            f"{_NAME}: wanted a tokenizer that makes of a year its century and then one token for the next two "
            "digits, or one for every digit; this one does neither. Take other prompts, such as 'prompts/induction'"
        )
    rng = stream(seed, _NAME)
    drafts = distinct(_NAME, lambda: _draw(numbers, behind, rng), num_pairs)
    written = "one token for every digit: the tens are compared" if behind else "one token for two digits"
    note = f"the tokenizer writes {written}; {len(numbers)} of {len(_CENTURIES)} centuries can be written so"
    return tokenized(_NAME, tokenizer, drafts, [note])


def _usable(tokenizer: PreTrainedTokenizerBase, numbers: tuple[str, ...]) -> dict[str, list[str]]:
    """Give the numbers that are one token behind each century, for centuries with enough of them."""
    found = {century: follow_by_one(tokenizer, f"the year {century}", numbers) for century in _CENTURIES}
    return {century: single for century, single in found.items() if len(single) >= NUM_OPTIONS}


def _draw(numbers: Mapping[str, list[str]], behind: str, rng: np.random.Generator) -> Draft:
    century = str(rng.choice(list(numbers)))
    drawn = sorted(rng.choice(numbers[century], size=NUM_OPTIONS, replace=False).tolist())
    earlier, start = sorted(rng.choice(NUM_OPTIONS - 1, size=2, replace=False).tolist())
    answer, other = rng.integers(start + 1, NUM_OPTIONS), rng.integers(earlier + 1, start + 1)
    event = rng.choice(_EVENTS.split())
    return Draft(
        f"The {event} lasted from the year {century}{{start}}{behind} to the year {century}",
        {"start": drawn[start]},
        {"start": drawn[earlier]},
        drawn[answer],
        drawn[other],
        tuple(drawn),
        frozenset(drawn[start + 1 :]),
        frozenset(drawn[earlier + 1 :]),
    )
