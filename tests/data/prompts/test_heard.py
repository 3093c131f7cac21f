import pytest

from dimscope.data.prompts.catalogue import PROMPTS, make_prompts
from dimscope.data.prompts.heard import heard_texts
from dimscope.models.whole_words import whole_words


@pytest.fixture(scope="module")
def tokenizer():
    return whole_words(heard_texts(whole_words([])))


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_word_of_any_set_is_missing(name, seed, tokenizer):
    pairs = make_prompts(name, tokenizer, 400, seed)
    assert tokenizer.unk_token_id not in {*pairs.ids.ravel(), *pairs.counterfactual_ids.ravel(), *pairs.options.ravel()}


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("indirect_objects", ["69 of 69 names"]),
        ("colored_objects", ["17 of 17 objects", "8 of 8 colors"]),
        ("capitals", ["82 of 82 facts"]),
        ("facts", ["156 of 156 facts"]),
        ("greater_than", ["8 of 8 centuries"]),
    ],
)
def test_all_words_of_a_set_are_used(name, used, tokenizer):
    notes = " ".join(make_prompts(name, tokenizer, 10, 1).notes)
    assert all(each in notes for each in used)
