"""Which tasks have a name; light, so that listing them takes no time."""

from __future__ import annotations

_TASKS = {
    "movie_reviews": "8,530 sentences of film reviews, negative or positive",
    "snippets": "10,605 sentences of film reviews, rated by 20 people, cut at 0",
    "snippets/amazon": "3,708 sentences of product reviews, rated by 20 people, cut at 0",
    "snippets/tweets": "4,200 tweets, rated by 20 people, cut at 0",
    "snippets/editorials": "5,190 sentences of newspaper editorials, rated by 20 people, cut at 0",
    "glue/sst2": "GLUE: is a phrase of a film review negative or positive?",
    "glue/qnli": "GLUE: does the sentence answer the question?",
    "glue/qqp": "GLUE: do two questions ask the same?",
    "glue/mrpc": "GLUE: do two sentences of the news say the same?",
    "glue/rte": "GLUE: does the first sentence entail the second?",
}
_PROMPTS = {
    "prompts/indirect_objects": "who got it? counterfactual: the other of the two names gives",
    "prompts/indirect_objects/other_names": "the same; counterfactual: two other names",
    "prompts/indirect_objects/random_names": "the same; counterfactual: three names, so that nothing is right",
    "prompts/colored_objects": "which color has the object? counterfactual: another object is asked for",
    "prompts/colored_objects/small": "the same in one question, of three objects and colors, for small models",
    "prompts/capitals": "capitals of countries; counterfactual: another country",
    "prompts/facts": "languages, past tenses, opposites, symbols, …; counterfactual: another subject",
    "prompts/greater_than": "a later year; counterfactual: an earlier start",
    "prompts/induction": "random tokens that come again; counterfactual: two of them exchanged",
}


def prompts() -> dict[str, str]:
    """Give the sets of prompts for language models, each with a line on it.

    >>> "prompts/capitals" in prompts()
    True
    """
    return dict(_PROMPTS)


def tasks() -> dict[str, str]:
    """Give the aliases, each with a line on it; the sets of prompts come last.

    >>> tasks()["movie_reviews"]
    '8,530 sentences of film reviews, negative or positive'
    """
    return {**_TASKS, **_PROMPTS}
