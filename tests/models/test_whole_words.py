import pytest

from dimscope.models.whole_words import whole_words

TEXT = "Q: On the desk, there is a red pen.\nA: Red\n(He said: in 1739 it's gone...)  Ärger"


@pytest.fixture(scope="module")
def tokenizer():
    return whole_words([TEXT, " Mary"])


def test_the_tokens_are_the_words_by_hand(tokenizer):
    assert tokenizer.tokenize(" in 1739 a\nA: Red, Mary.") == [
        *(" in", " 1", "7", "3", "9", " a", "\n", "A", ":", " Red", ",", " Mary", ".")
    ]


def test_a_text_comes_back_as_it_was(tokenizer):
    ids = tokenizer(TEXT)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == TEXT


def test_a_word_at_the_start_is_another_than_behind_a_space(tokenizer):
    assert tokenizer.tokenize("Mary Mary") == ["<unknown>", " Mary"]


def test_the_order_of_the_texts_does_not_matter(tokenizer):
    assert whole_words([" Mary", TEXT]).get_vocab() == tokenizer.get_vocab()


def test_it_is_the_same_when_it_is_opened_again(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    opened = type(tokenizer).from_pretrained(tmp_path)
    assert opened(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]
    assert opened.decode(opened(TEXT)["input_ids"]) == TEXT
    assert (opened.pad_token, opened.model_max_length) == ("<pad>", 128)
