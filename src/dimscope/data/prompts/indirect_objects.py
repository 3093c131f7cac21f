"""Indirect objects: 'When Mary and John came to the park, John handed the ball to' goes on with ' Mary'.

Wang, Variengien, Conmy, Shlegeris & Steinhardt 2023 (2211.00593), section 2 and appendix E: two names, the first one
of the two either the indirect object (ABBA) or the subject (BABA), and the logit difference between IO and S. The
sentences and names are our own. Merullo, Eickhoff & Pavlick 2024 (2310.08744) exchange S2 and IO in the counterfactual.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from dimscope.core.seeds import stream
from dimscope.data.prompts.drafts import Draft, distinct
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.data.prompts.tokens import single_tokens, tokenized

Counterfactual = Literal["flip", "other_names", "random_names"]

_TEMPLATES = (
    "When {first} and {second} came to the [place], {S2} handed the [object] to",
    "After {first} and {second} had spent an hour at the [place], {S2} gave the [object] to",
    "Yesterday {first} and {second} met at the [place], and {S2} passed a [object] to",
    "While {first} and {second} were busy at the [place], {S2} brought a [object] to",
    "Once {first} and {second} had found the [place], {S2} offered the [object] to",
    "Because {first} and {second} were late for the [place], {S2} sent a [object] to",
)
_PLACES = ("park", "school", "office", "station", "market", "library", "museum", "beach", "hospital", "restaurant")
_OBJECTS = ("ball", "book", "letter", "key", "bag", "cup", "ticket", "phone", "map", "present")
_NAMES = (
    "Adam Alex Alice Amy Andrew Anna Ben Bill Brian Charles Charlotte Claire Daniel David Diana Edward Elizabeth "
    "Emily Emma Eric Frank George Grace Helen Henry Jack James Jane Jason Jennifer Jessica Jim John Joseph Julia "
    "Karen Kate Kevin Laura Lisa Lucy Luke Maria Martin Mary Max Michael Mike Nick Olivia Paul Peter Rachel Rebecca "
    "Richard Robert Ruth Ryan Sam Sara Sarah Simon Steven Susan Thomas Tim Tom Victoria William"
)
_FEWEST_NAMES = 10


def indirect_objects(
    tokenizer: PreTrainedTokenizerBase, num_pairs: int, seed: int, counterfactual: Counterfactual = "flip"
) -> PromptPairs:
    """Draw prompts with the places S1, IO and S2 (in the prompt: subject, indirect object, subject again) and end.

    Args:
        tokenizer: the model's.
        num_pairs: how many.
        seed: where all draws come from.
        counterfactual: 'flip' puts IO where S2 stands, so that S is right; 'other_names' takes two other names
            throughout; 'random_names' takes three different ones, so that nothing is right and the other is S.

    Raises:
        UserError: too few names are single tokens, or there are not so many pairs.
    """
    name = "prompts/indirect_objects" + ("" if counterfactual == "flip" else f"/{counterfactual}")
    names, note = single_tokens(tokenizer, name, "names", _NAMES.split(), _FEWEST_NAMES)
    rng = stream(seed, "prompts/indirect_objects")  # the prompts are the same, whatever the counterfactual
    return tokenized(name, tokenizer, distinct(name, lambda: _draw(names, counterfactual, rng), num_pairs), [note])


def _draw(names: list[str], counterfactual: Counterfactual, rng: np.random.Generator) -> Draft:
    first, second = ("{IO}", "{S1}") if rng.integers(2) else ("{S1}", "{IO}")
    template = str(rng.choice(_TEMPLATES)).replace("{first}", first).replace("{second}", second)
    template = template.replace("[place]", str(rng.choice(_PLACES))).replace("[object]", str(rng.choice(_OBJECTS)))
    subject, indirect, *strangers = rng.choice(names, size=5, replace=False).tolist()
    words = {"IO": indirect, "S1": subject, "S2": subject}
    changed = {
        "flip": {"IO": indirect, "S1": subject, "S2": indirect},
        "other_names": {"IO": strangers[0], "S1": strangers[1], "S2": strangers[1]},
        "random_names": {"IO": strangers[0], "S1": strangers[1], "S2": strangers[2]},
    }[counterfactual]
    other = strangers[0] if counterfactual == "other_names" else subject
    right = frozenset() if counterfactual == "random_names" else frozenset([f" {other}"])
    named = dict.fromkeys([indirect, other, *words.values(), *(changed.values() if right else ())])
    options = tuple(f" {each}" for each in named)
    return Draft(template, words, changed, f" {indirect}", f" {other}", options, frozenset([f" {indirect}"]), right)
