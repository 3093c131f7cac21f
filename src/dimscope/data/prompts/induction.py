"""Induction: random tokens A B C D …, then A B C again; what comes next is D.

Olsson et al. 2022 (2209.11895), section 'Induction heads': what followed the token before is to follow it again. No
text is taken from anywhere, so what a model knows of language does not help. The counterfactual exchanges the token
that is right with the one behind it in the first half: the same tokens, another answer.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64
from transformers import PreTrainedTokenizerBase

from dimscope.core.errors import UserError
from dimscope.core.seeds import stream
from dimscope.data.prompts.pairs import PromptPairs

PERIOD = 12
REPEATED = 8

_NAME = "prompts/induction"


def induction(tokenizer: PreTrainedTokenizerBase, num_pairs: int, seed: int) -> PromptPairs:
    """Draw 12 different random tokens of which the first 8 come again; the options are the 12.

    The places are earlier, where the last token stood first, answer and other, the two tokens behind it, and end. The
    texts are for reading: other tokens may come out where they are tokenized again.

    Raises:
        UserError: the tokenizer has fewer than 12 tokens that are not special.
    """
    ordinary = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)
    if len(ordinary) < PERIOD:
        raise UserError(f"{_NAME}: wanted {PERIOD} tokens that are not special, the tokenizer has {len(ordinary)}")
    rng = stream(seed, _NAME)
    drawn = np.stack([rng.choice(ordinary, size=PERIOD, replace=False) for _ in range(num_pairs)])
    exchanged = drawn.copy()
    exchanged[:, [REPEATED, REPEATED + 1]] = drawn[:, [REPEATED + 1, REPEATED]]
    before = np.array(tokenizer("")["input_ids"], np.int64)
    ids, changed = (_repeated(before, each) for each in (drawn, exchanged))
    places = {"earlier": REPEATED - 1, "answer": REPEATED, "other": REPEATED + 1, "end": PERIOD + REPEATED - 1}
    return PromptPairs(
        name=_NAME,
        texts=tuple(tokenizer.batch_decode(ids)),
        counterfactuals=tuple(tokenizer.batch_decode(changed)),
        ids=ids,
        counterfactual_ids=changed,
        mask=np.ones_like(ids),
        answers=drawn[:, REPEATED],
        others=drawn[:, REPEATED + 1],
        places={name: np.full(num_pairs, len(before) + place) for name, place in places.items()},
        options=drawn,
    )


def _repeated(
    before: Int64[np.ndarray, " special"], drawn: Int64[np.ndarray, "pairs period"]
) -> Int64[np.ndarray, "pairs tokens"]:
    return np.hstack([np.tile(before, (len(drawn), 1)), drawn, drawn[:, :REPEATED]])
