"""A tokenizer to which every word and every digit is one token, with the space before it if there is one.

So ' Mary' within a text and 'Mary' at its start are two tokens, as they are to byte pairs, and what a text is made of
can be put together again without loss.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

_PIECE = r" ?\p{L}+| ?\p{N}|\s|[^\s\p{L}\p{N}]"
_SPECIAL = {"pad_token": "<pad>", "unk_token": "<unknown>"}


def whole_words(texts: Iterable[str], max_length: int = 128) -> PreTrainedTokenizerFast:
    """Make a tokenizer of all words in the texts, in the order of the alphabet; other words are unknown to it.

    >>> tokenizer = whole_words(["When Mary came in 1712"])
    >>> tokenizer.tokenize("When Mary left in 1721")
    ['When', ' Mary', '<unknown>', ' in', ' 1', '7', '2', '1']
    """
    splitting = pre_tokenizers.Split(Regex(_PIECE), "isolated")
    words = sorted({word for text in texts for word, _ in splitting.pre_tokenize_str(text)})
    numbers = {word: number for number, word in enumerate([*_SPECIAL.values(), *words])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=_SPECIAL["unk_token"]))
    tokenizer.pre_tokenizer = splitting
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        **_SPECIAL,
    )
