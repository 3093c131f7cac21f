"""Colored objects: one question with its answer, then another one of the same form; the color is to be told.

Merullo, Eickhoff & Pavlick 2024 (2310.08744), section 3, after a task of BIG-bench: three objects of different colors
lie on a surface, and one is asked for. The counterfactual changes only which object is asked for. 'a orange' stands
there as it does in their prompts. Their 17 objects are not listed; ours are 17 that most tokenizers have as one token.

The small set is what a small model learns from nothing within minutes: one question, and always the same three objects
and colors. With 17 objects a model that looks up the one that is asked for is found too rarely by small steps, and it
stays with any of the three colors.
"""

from __future__ import annotations

import numpy as np
from transformers import PreTrainedTokenizerBase

from dimscope.core.seeds import stream
from dimscope.data.prompts.drafts import Draft, distinct
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.data.prompts.tokens import single_tokens, tokenized

_NAME = "prompts/colored_objects"
_COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "brown", "black")
_SURFACES = ("table", "desk", "floor")
_STARTS = ("there is", "you see", "I see")
_OBJECTS = "pencil pen book cup plate ball ring hat brush bag phone lamp clock towel toy shirt box"
_FEWEST = 4
_FEW = 3
"""Objects and colors of the small set."""


def colored_objects(
    tokenizer: PreTrainedTokenizerBase, num_pairs: int, seed: int, is_small: bool = False
) -> PromptPairs:
    """Draw prompts with the places answer_color, other_color, third_color and object, all in the last question.

    The options are the three colors of the last question. The small set has no question before it, and always the
    same three objects and colors.

    Raises:
        UserError: too few objects or colors are single tokens, or there are not so many pairs.
    """
    name = f"{_NAME}/small" if is_small else _NAME
    objects, about_objects = single_tokens(tokenizer, name, "objects", _OBJECTS.split(), _FEWEST)
    colors, about_colors = single_tokens(tokenizer, name, "colors", _COLORS, _FEWEST)
    rng = stream(seed, name)
    if is_small:
        drafts = distinct(name, lambda: _draw("", objects[:_FEW], colors[:_FEW], rng), num_pairs)
        return tokenized(name, tokenizer, drafts, [])
    drafts = distinct(name, lambda: _second(objects, colors, rng), num_pairs)
    return tokenized(name, tokenizer, drafts, [about_objects, about_colors])


def _second(objects: list[str], colors: list[str], rng: np.random.Generator) -> Draft:
    """Draw a question behind another one and its answer."""
    shown, of_shown, asked = _scene(objects, colors, rng)
    example = _question(shown, of_shown, shown[asked], rng) + f" {of_shown[asked].capitalize()}\n"
    return _draw(example, objects, colors, rng)


def _draw(example: str, objects: list[str], colors: list[str], rng: np.random.Generator) -> Draft:
    shown, of_shown, asked = _scene(objects, colors, rng)
    other = int(rng.choice([place for place in range(3) if place != asked]))
    roles = {asked: "{answer_color}", other: "{other_color}"}
    marks = [roles.get(place, "{third_color}") for place in range(3)]
    marked = {mark.strip("{}"): color for mark, color in zip(marks, of_shown, strict=True)}
    answers = [f" {color.capitalize()}" for color in of_shown]
    return Draft(
        example + _question(shown, marks, "{object}", rng),
        {**marked, "object": shown[asked]},
        {**marked, "object": shown[other]},
        answers[asked],
        answers[other],
        tuple(answers),
        frozenset([answers[asked]]),
        frozenset([answers[other]]),
    )


def _scene(objects: list[str], colors: list[str], rng: np.random.Generator) -> tuple[list[str], list[str], int]:
    """Give three objects, their colors, and which one is asked for."""
    shown = rng.choice(objects, size=3, replace=False).tolist()
    return shown, rng.choice(colors, size=3, replace=False).tolist(), int(rng.integers(3))


def _question(shown: list[str], colors: list[str], asked: str, rng: np.random.Generator) -> str:
    first, second, third = (f"a {color} {each}" for color, each in zip(colors, shown, strict=True))
    surface, start = rng.choice(_SURFACES), rng.choice(_STARTS)
    return f"Q: On the {surface}, {start} {first}, {second}, and {third}. What color is the {asked}?\nA:"
