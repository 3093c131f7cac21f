"""Facts of a relation as prompts: a subject in a sentence, and an object that the sentence goes on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from dimscope.core.seeds import stream
from dimscope.data.prompts.drafts import Draft, distinct
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.data.prompts.tokens import follow_by_one, require, tokenized

NUM_OPTIONS = 4


@dataclass(frozen=True)
class Relation:
    """Sentences with the mark `{subject}`, and which object each subject has."""

    templates: tuple[str, ...]
    objects: Mapping[str, str]


def paired(facts: str) -> dict[str, str]:
    """Read a list of subjects and objects.

    >>> paired("France Paris, Italy Rome")
    {'France': 'Paris', 'Italy': 'Rome'}
    """
    words = facts.replace(",", " ").split()
    return dict(zip(words[::2], words[1::2], strict=True))


def pairs_of(
    name: str, relations: Sequence[Relation], tokenizer: PreTrainedTokenizerBase, num_pairs: int, seed: int
) -> PromptPairs:
    """Draw facts, each with another fact of its relation as counterfactual; the places are subject and end.

    The options are the two objects and two more of the relation. A relation with fewer than four objects that are
    single tokens is left out.

    Raises:
        UserError: no relation is left, or there are not so many pairs.
    """
    kept = [_kept(relation, tokenizer) for relation in relations]
    usable = [each for each in kept if len(set(each.objects.values())) >= NUM_OPTIONS]
    num_facts, num_usable = (sum(len(each.objects) for each in some) for some in (relations, usable))
    require(name, "facts of one relation, subjects and objects,", num_usable, num_facts, NUM_OPTIONS)
    rng = stream(seed, name)
    weights = np.array([len(each.objects) for each in usable]) / num_usable
    drafts = distinct(name, lambda: _draw(usable[rng.choice(len(usable), p=weights)], rng), num_pairs)
    note = f"{num_usable} of {num_facts} facts have subjects and objects that are single tokens and are used"
    return tokenized(name, tokenizer, drafts, [note])


def _kept(relation: Relation, tokenizer: PreTrainedTokenizerBase) -> Relation:
    words = {f" {word}" for fact in relation.objects.items() for word in fact}
    single = {word[1:] for word in follow_by_one(tokenizer, "the", sorted(words))}
    facts = {subject: found for subject, found in relation.objects.items() if {subject, found} <= single}
    return Relation(relation.templates, facts)


def _draw(relation: Relation, rng: np.random.Generator) -> Draft:
    subject = str(rng.choice(list(relation.objects)))
    answer = relation.objects[subject]
    elsewhere = [each for each, found in relation.objects.items() if found != answer]
    stranger = str(rng.choice(elsewhere))
    other = relation.objects[stranger]
    rest = sorted(set(relation.objects.values()) - {answer, other})
    options = [answer, other, *rng.choice(rest, size=NUM_OPTIONS - 2, replace=False).tolist()]
    return Draft(
        str(rng.choice(relation.templates)),
        {"subject": subject},
        {"subject": stranger},
        f" {answer}",
        f" {other}",
        tuple(f" {option}" for option in options),
        frozenset([f" {answer}"]),
        frozenset([f" {other}"]),
    )
