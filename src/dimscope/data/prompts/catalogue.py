"""Prompts by name: each set is made from the seed and checked against the model's tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from transformers import PreTrainedTokenizerBase

from dimscope.core.errors import UnknownName, UserError
from dimscope.data.prompts.capitals import capitals
from dimscope.data.prompts.colored_objects import colored_objects
from dimscope.data.prompts.facts import facts
from dimscope.data.prompts.greater_than import greater_than
from dimscope.data.prompts.indirect_objects import indirect_objects
from dimscope.data.prompts.induction import induction
from dimscope.data.prompts.pairs import PromptPairs

PROMPTS: Mapping[str, Callable[[PreTrainedTokenizerBase, int, int], PromptPairs]] = {
    "indirect_objects": indirect_objects,
    "indirect_objects/other_names": partial(indirect_objects, counterfactual="other_names"),
    "indirect_objects/random_names": partial(indirect_objects, counterfactual="random_names"),
    "colored_objects": colored_objects,
    "colored_objects/small": partial(colored_objects, is_small=True),
    "capitals": capitals,
    "facts": facts,
    "greater_than": greater_than,
    "induction": induction,
}


def make_prompts(name: str, tokenizer: PreTrainedTokenizerBase, num_pairs: int, seed: int) -> PromptPairs:
    """Make a set of prompts, 'prompts/capitals' or 'capitals', for a model's tokenizer.

    Of the same seed, the first pairs of many are the pairs of few.

    Raises:
        UnknownName: there is no such set.
        UserError: the tokenizer cannot write it, or it has not so many pairs.
    """
    kind = name.removeprefix("prompts/")
    if kind not in PROMPTS:
        raise UnknownName("prompts", name, [f"prompts/{known}" for known in PROMPTS])
    if num_pairs < 1:
        raise UserError(f"wanted at least 1 pair of prompts, got {num_pairs}")
    return PROMPTS[kind](tokenizer, num_pairs, seed)
