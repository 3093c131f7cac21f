"""Capitals: 'The capital of France is' goes on with ' Paris'; the counterfactual names another country.

The question of Lv et al. 2024 (2403.19521) and many others. Sentences and list are our own: countries and capitals of
one word each, named without an article.
"""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from dimscope.data.prompts.pairs import PromptPairs
from dimscope.data.prompts.relations import Relation, paired, pairs_of

_TEMPLATES = (
    "The capital of {subject} is",
    "The name of the capital of {subject} is",
    "We flew to the capital of {subject}, the city of",
    "Question: What is the capital of {subject}?\nAnswer:",
)
_CAPITALS = paired(
    "Afghanistan Kabul, Albania Tirana, Algeria Algiers, Angola Luanda, Armenia Yerevan, Australia Canberra, "
    "Austria Vienna, Azerbaijan Baku, Bangladesh Dhaka, Belarus Minsk, Belgium Brussels, Bulgaria Sofia, "
    "Canada Ottawa, Chile Santiago, China Beijing, Colombia Bogota, Croatia Zagreb, Cuba Havana, Cyprus Nicosia, "
    "Denmark Copenhagen, Ecuador Quito, Egypt Cairo, England London, Estonia Tallinn, Finland Helsinki, "
    "France Paris, Georgia Tbilisi, Germany Berlin, Ghana Accra, Greece Athens, Hungary Budapest, "
    "Iceland Reykjavik, Indonesia Jakarta, Iran Tehran, Iraq Baghdad, Ireland Dublin, Italy Rome, "
    "Jamaica Kingston, Japan Tokyo, Jordan Amman, Kenya Nairobi, Latvia Riga, Lebanon Beirut, Libya Tripoli, "
    "Lithuania Vilnius, Mali Bamako, Malta Valletta, Morocco Rabat, Nepal Kathmandu, Norway Oslo, Nigeria Abuja, "
    "Oman Muscat, Pakistan Islamabad, Peru Lima, Poland Warsaw, Portugal Lisbon, Qatar Doha, Romania Bucharest, "
    "Russia Moscow, Rwanda Kigali, Scotland Edinburgh, Senegal Dakar, Serbia Belgrade, Slovakia Bratislava, "
    "Slovenia Ljubljana, Spain Madrid, Sudan Khartoum, Sweden Stockholm, Switzerland Bern, Syria Damascus, "
    "Taiwan Taipei, Thailand Bangkok, Tunisia Tunis, Turkey Ankara, Uganda Kampala, Ukraine Kyiv, "
    "Uruguay Montevideo, Venezuela Caracas, Vietnam Hanoi, Wales Cardiff, Zambia Lusaka, Zimbabwe Harare"
)


def capitals(tokenizer: PreTrainedTokenizerBase, num_pairs: int, seed: int) -> PromptPairs:
    """Draw prompts with the places subject, the country, and end; four capitals are the options.

    Raises:
        UserError: too few countries and capitals are single tokens, or there are not so many pairs.
    """
    return pairs_of("prompts/capitals", [Relation(_TEMPLATES, _CAPITALS)], tokenizer, num_pairs, seed)
