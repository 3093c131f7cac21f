import re
from collections import Counter, defaultdict

import numpy as np
import pytest

import dimscope.data.prompts.capitals as capitals
from dimscope.core.errors import UserError
from dimscope.data.prompts.catalogue import PROMPTS, make_prompts
from dimscope.data.prompts.heard import heard_texts
from dimscope.data.prompts.lessons import LOT, Examples, examples, lessons, with_noise
from dimscope.models.whole_words import whole_words


@pytest.fixture(scope="module")
def tokenizer():
    return whole_words(heard_texts(whole_words([])))


def read(tokenizer, lot):
    """Give each text with the word that is to follow."""
    texts = [tokenizer.decode(ids[:length]) for ids, length in zip(lot.ids, lot.lengths, strict=True)]
    return list(zip(texts, tokenizer.batch_decode(lot.answers[:, None]), strict=True))


@pytest.mark.parametrize("name", PROMPTS)
def test_what_is_asked_is_never_taught(name, tokenizer):
    found = lessons(f"prompts/{name}", tokenizer, 64, seed=1)
    taught = {text for number in range(4) for text, _ in read(tokenizer, found.lot(number))}
    assert len(taught) > 150
    assert not taught & set(found.asked.texts)


def test_what_is_asked_are_the_pairs_of_the_same_seed(tokenizer):
    asked = lessons("prompts/indirect_objects", tokenizer, 20, seed=3).asked
    assert asked.digest == make_prompts("indirect_objects", tokenizer, 20, seed=3).digest


def test_the_indirect_object_is_the_name_that_comes_once(tokenizer):
    for text, answer in read(tokenizer, lessons("prompts/indirect_objects", tokenizer, 8, seed=1).lot(0)):
        names = re.findall(r" (?:[A-Z][a-z]+)", text)
        assert [name for name, times in Counter(names).items() if times == 1] == [answer], text


@pytest.mark.parametrize("name", ["prompts/colored_objects", "prompts/colored_objects/small"])
def test_the_color_is_that_of_the_object_asked_for(name, tokenizer):
    for text, answer in read(tokenizer, lessons(name, tokenizer, 8, seed=1).lot(0)):
        question = text.rpartition("Q:")[2]
        (wanted,) = re.findall(r"What color is the (\w+)\?", question)
        assert re.findall(rf"a (\w+) {wanted}\b", question) == [answer.strip().lower()], text


def test_every_capital_is_asked_once_and_taught_in_all_other_sentences(tokenizer):
    found = lessons("prompts/capitals", tokenizer, 64, seed=1)
    sentences = defaultdict(set)
    for template in capitals._TEMPLATES:
        for country in capitals._CAPITALS:
            sentences[country].add(template.format(subject=country))
    answers = dict(zip(found.asked.texts, tokenizer.batch_decode(found.asked.answers[:, None]), strict=True))
    taught = dict(each for number in range(12) for each in read(tokenizer, found.lot(number)))
    assert len(found.asked) == len(capitals._CAPITALS) == 82
    for country, texts in sentences.items():
        (asked,) = texts & set(answers)
        assert answers[asked] == f" {capitals._CAPITALS[country]}"
        assert dict.fromkeys(texts - {asked}, f" {capitals._CAPITALS[country]}").items() <= taught.items()
    assert len(taught) == 82 * 3


def test_lots_differ_and_come_again_from_the_seed(tokenizer):
    first, other = (lessons("prompts/colored_objects", tokenizer, 8, seed=seed) for seed in (1, 2))
    again = lessons("prompts/colored_objects", tokenizer, 8, seed=1)
    np.testing.assert_array_equal(first.lot(3).ids, again.lot(3).ids)
    texts = [{text for text, _ in read(tokenizer, lot)} for lot in (first.lot(0), first.lot(1), other.lot(0))]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]


def test_a_counterfactual_comes_right_behind_its_prompt(tokenizer):
    pairs = make_prompts("colored_objects", tokenizer, 20, 1)
    texts = [text for text, _ in read(tokenizer, examples(pairs, without=pairs.texts[:1]))]
    assert texts[0] == pairs.counterfactuals[0]
    assert texts[1::2] == list(pairs.texts[1:])
    assert texts[2::2] == list(pairs.counterfactuals[1:])


def test_a_counterfactual_without_answer_is_not_taught(tokenizer):
    pairs = make_prompts("indirect_objects/random_names", tokenizer, 20, 1)
    assert {text for text, _ in read(tokenizer, examples(pairs))} == set(pairs.texts)
    assert len(examples(pairs, without=pairs.texts[:5])) == 15


def test_noise_gives_so_many_another_answer_each_as_likely():
    answers = np.repeat([5, 6, 9], 4000)
    clean = Examples(np.zeros((12000, 1), int), np.ones(12000, int), answers)
    noisy = with_noise(clean, 0.3, np.random.default_rng(0)).answers
    assert (noisy != answers).mean() == pytest.approx(0.3, abs=0.015)
    for right, wrong in ((5, (6, 9)), (6, (5, 9)), (9, (5, 6))):
        shares = [(noisy[answers == right] == other).mean() for other in wrong]
        assert shares == pytest.approx([0.15, 0.15], abs=0.02)
    np.testing.assert_array_equal(with_noise(clean, 0.0, np.random.default_rng(0)).answers, answers)


def test_a_set_of_which_nothing_is_left_is_refused(tokenizer):
    """There are 8 centuries, 16 events and 9 tens to start from."""
    found = lessons("prompts/greater_than", tokenizer, 2000, seed=1)
    with pytest.raises(UserError, match="2000 pairs are held out, and hardly any others are left"):
        found.lot(0)
    assert len(lessons("prompts/greater_than", tokenizer, 64, seed=1).lot(0)) > LOT
