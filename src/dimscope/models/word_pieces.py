"""A tokenizer of BERT's kind, made from texts: lower case, frequent words whole, others letter by letter.

The vocabulary is counted here: the library's trainer for word pieces breaks ties by chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from string import ascii_lowercase, digits, punctuation

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

_SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def word_pieces(texts: Iterable[str], num_tokens: int = 300, max_length: int = 64) -> PreTrainedTokenizerFast:
    """Make a tokenizer of at most `num_tokens` tokens, which writes [CLS] text [SEP] and cuts at `max_length`.

    >>> tokenizer = word_pieces(["a good film", "a film"])
    >>> tokenizer.tokenize("A film so good")
    ['a', 'film', 's', '##o', 'good']
    """
    tokenizer = Tokenizer(models.WordPiece())
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces = {piece: number for number, piece in enumerate(_pieces(tokenizer, texts)[:num_tokens])}
    tokenizer.model = models.WordPiece(pieces, unk_token=_SPECIAL["unk_token"])
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length, model_input_names=inputs, **_SPECIAL
    )


def _pieces(tokenizer: Tokenizer, texts: Iterable[str]) -> list[str]:
    """Give special tokens, letters that begin a word or stand within one, and words, the most frequent first."""
    normal = (tokenizer.normalizer.normalize_str(text) for text in texts)
    counts = Counter(word for text in normal for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
    letters = sorted({*ascii_lowercase, *digits, *punctuation, *"".join(counts)})
    words = sorted(counts, key=lambda word: (-counts[word], word))
    return list(dict.fromkeys([*_SPECIAL.values(), *letters, *(f"##{letter}" for letter in letters), *words]))
