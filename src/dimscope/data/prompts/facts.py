"""Facts other than capitals: languages, continents, past tenses, plurals, opposites, chemical symbols, months, days.

Each relation has two sentences of its own. The counterfactual names another subject of the same relation.
"""

from __future__ import annotations

from itertools import pairwise

from transformers import PreTrainedTokenizerBase

from dimscope.data.prompts.pairs import PromptPairs
from dimscope.data.prompts.relations import Relation, paired, pairs_of

_LANGUAGES = Relation(
    ("The official language of {subject} is", "Most people in {subject} speak"),
    paired(
        "France French, Germany German, Italy Italian, Spain Spanish, Portugal Portuguese, Japan Japanese, "
        "China Chinese, Russia Russian, Greece Greek, Sweden Swedish, Denmark Danish, Finland Finnish, "
        "Hungary Hungarian, Poland Polish, Turkey Turkish, Brazil Portuguese, Mexico Spanish, Egypt Arabic, "
        "Iran Persian, Austria German, Norway Norwegian, Korea Korean, Thailand Thai, Australia English"
    ),
)
_CONTINENTS = Relation(
    ("The country of {subject} lies on the continent of", "On the map {subject} belongs to the continent of"),
    {
        **dict.fromkeys(("France", "Germany", "Italy", "Poland", "Sweden", "Spain", "Greece"), "Europe"),
        **dict.fromkeys(("China", "Japan", "India", "Vietnam", "Pakistan", "Thailand", "Nepal"), "Asia"),
        **dict.fromkeys(("Nigeria", "Kenya", "Ghana", "Ethiopia", "Uganda", "Algeria", "Morocco"), "Africa"),
        **dict.fromkeys(("Canada", "Mexico"), "North"),
        **dict.fromkeys(("Peru", "Chile", "Brazil", "Argentina", "Colombia"), "South"),
    },
)
_PAST_TENSES = Relation(
    ("Today I {subject}, and yesterday I", "The past tense of {subject} is"),
    paired(
        "go went, see saw, eat ate, run ran, write wrote, sing sang, drink drank, give gave, take took, make made, "
        "come came, buy bought, think thought, find found, teach taught, speak spoke, drive drove, fly flew, "
        "swim swam, win won, sell sold, tell told, feel felt, break broke, build built"
    ),
)
_PLURALS = Relation(
    ("There was one {subject}, and then there were two", "The plural of {subject} is"),
    paired(
        "child children, man men, woman women, mouse mice, foot feet, tooth teeth, leaf leaves, knife knives, "
        "wife wives, wolf wolves, half halves, life lives, dog dogs, house houses, city cities, box boxes, "
        "country countries"
    ),
)
_OPPOSITES = Relation(
    ("The opposite of {subject} is", "It is not {subject}; on the contrary, it is"),
    paired(
        "hot cold, big small, good bad, happy sad, fast slow, high low, old new, open closed, rich poor, strong weak, "
        "light dark, early late, black white, wet dry, near far, full empty, hard soft, long short, true false, "
        "left right, up down, inside outside, male female, public private"
    ),
)
_SYMBOLS = Relation(
    ("The chemical symbol of {subject} is", "In the periodic table the element {subject} is written as"),
    paired(
        "hydrogen H, helium He, carbon C, nitrogen N, oxygen O, sodium Na, magnesium Mg, aluminum Al, silicon Si, "
        "potassium K, calcium Ca, iron Fe, copper Cu, zinc Zn, silver Ag, gold Au, mercury Hg, lead Pb, tin Sn"
    ),
)
_YEAR = "January February March April May June July August September October November December January"
_NEXT_MONTHS = Relation(
    ("The month after {subject} is", "When the month of {subject} is over, it is"),
    dict(pairwise(_YEAR.split())),
)
_WEEK = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday Monday"
_NEXT_DAYS = Relation(
    ("The day after {subject} is", "If today is {subject}, tomorrow is"), dict(pairwise(_WEEK.split()))
)
_RELATIONS = (
    *(_LANGUAGES, _CONTINENTS, _PAST_TENSES, _PLURALS),
    *(_OPPOSITES, _SYMBOLS, _NEXT_MONTHS, _NEXT_DAYS),
)


def facts(tokenizer: PreTrainedTokenizerBase, num_pairs: int, seed: int) -> PromptPairs:
    """Draw prompts with the places subject and end, the relations as often as they have facts.

    The options are four objects of the relation.

    Raises:
        UserError: too few subjects and objects are single tokens, or there are not so many pairs.
    """
    return pairs_of("prompts/facts", _RELATIONS, tokenizer, num_pairs, seed)
