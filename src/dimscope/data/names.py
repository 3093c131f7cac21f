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


def tasks() -> dict[str, str]:
    """Give the aliases, each with a line on it.

    >>> tasks()["movie_reviews"]
    '8,530 sentences of film reviews, negative or positive'
    """
    return dict(_TASKS)
