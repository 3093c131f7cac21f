"""What holds of every set of prompts; the right answers are found again by a rule that reads the text alone."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from dimscope.core.errors import UnknownName, UserError
from dimscope.data.names import prompts
from dimscope.data.prompts.catalogue import PROMPTS, make_prompts
from dimscope.data.prompts.pairs import PromptPairs

PLACES = {
    "indirect_objects": {"S1", "IO", "S2"},
    "indirect_objects/other_names": {"S1", "IO", "S2"},
    "indirect_objects/random_names": {"S1", "IO", "S2"},
    "colored_objects": {"answer_color", "other_color", "third_color", "object"},
    "colored_objects/small": {"answer_color", "other_color", "third_color", "object"},
    "capitals": {"subject"},
    "facts": {"subject"},
    "greater_than": {"start"},
    "induction": {"earlier", "answer", "other"},
}


@pytest.fixture(params=list(PROMPTS))
def name(request) -> str:
    return request.param


@pytest.fixture(params=[False, True], ids=["bare", "begun"])
def pairs(name, request, tokenizer) -> PromptPairs:
    return make_prompts(name, tokenizer(begins=request.param), num_pairs=40, seed=3)


def test_every_pair_is_aligned_and_differs(pairs):
    assert pairs.ids.shape == pairs.counterfactual_ids.shape == pairs.mask.shape
    differ = pairs.ids != pairs.counterfactual_ids
    assert differ.any(axis=1).all()
    assert not (differ & (pairs.mask == 0)).any()
    np.testing.assert_array_equal(pairs.first_difference, [np.flatnonzero(row)[0] for row in differ])


def test_pairs_differ_only_at_their_places(pairs, name):
    marked = np.zeros(pairs.ids.shape, bool)
    for tokens in (tokens for place, tokens in pairs.places.items() if place != "end"):
        marked[np.arange(len(pairs)), tokens] = True
    assert not ((pairs.ids != pairs.counterfactual_ids) & ~marked).any()
    assert set(pairs.places) == PLACES[name] | {"end"}


def test_end_is_the_last_real_token_and_the_padding_is_on_the_right(pairs):
    np.testing.assert_array_equal(pairs.places["end"] + 1, pairs.mask.sum(axis=1))
    assert (np.diff(pairs.mask, axis=1) <= 0).all()


def test_the_ids_say_the_texts(pairs, tokenizer):
    reading = tokenizer()
    for texts, ids in ((pairs.texts, pairs.ids), (pairs.counterfactuals, pairs.counterfactual_ids)):
        for text, row, length in zip(texts, ids, pairs.mask.sum(axis=1), strict=True):
            assert reading.decode(row[:length]).removeprefix("<end>") == text.removeprefix("<end>")


def test_the_answer_is_a_right_option_and_the_other_is_not(pairs, name):
    rows = np.arange(len(pairs))
    of_answer = (pairs.options == pairs.answers[:, None]).argmax(axis=1)
    of_other = (pairs.options == pairs.others[:, None]).argmax(axis=1)
    np.testing.assert_array_equal(pairs.options[rows, of_answer], pairs.answers)
    np.testing.assert_array_equal(pairs.options[rows, of_other], pairs.others)
    assert pairs.is_right[rows, of_answer].all()
    assert not pairs.is_right[rows, of_other].any()
    assert pairs.is_right_counterfactual[rows, of_other].all() == (name != "indirect_objects/random_names")
    assert all(len(set(row)) == len(row) for row in pairs.options.tolist())


def test_a_seed_gives_the_same_pairs_and_few_are_the_first_of_many(name, tokenizer):
    few, many, others = (make_prompts(name, tokenizer(), num, seed) for num, seed in ((10, 3), (30, 3), (10, 4)))
    assert few.texts == many.texts[:10]
    assert few.counterfactuals == many.counterfactuals[:10]
    assert few.texts != others.texts
    assert few.digest == make_prompts(f"prompts/{name}", tokenizer(), 10, 3).digest != others.digest


def test_no_pair_comes_twice(pairs):
    assert len(set(zip(pairs.texts, pairs.counterfactuals, strict=True))) == len(pairs)


def said(pairs: PromptPairs, tokenizer) -> list[tuple[str, set[str]]]:
    """Every prompt and counterfactual, with what is right after it."""
    both = (
        (pairs.texts, pairs.is_right),
        (pairs.counterfactuals, pairs.is_right_counterfactual),
    )
    return [
        (text, {tokenizer.decode([option]) for option in options[right]})
        for texts, is_right in both
        for text, options, right in zip(texts, pairs.options, is_right, strict=True)
    ]


@pytest.mark.parametrize("name", ["indirect_objects", "indirect_objects/other_names"])
def test_the_indirect_object_is_the_name_that_stands_once(name, tokenizer):
    pairs = make_prompts(name, tokenizer(), 60, 0)
    names = {tokenizer().decode([token])[1:] for token in pairs.options.ravel()}
    for text, right in said(pairs, tokenizer()):
        counts = Counter(word for word in re.findall(r"\w+", text) if word in names)
        assert sorted(counts.values()) == [1, 2]
        assert right == {f" {min(counts, key=counts.get)}"}
    orders = pairs.places["IO"] < pairs.places["S1"]
    assert 10 < orders.sum() < 50, "half begins with the indirect object"


def test_with_random_names_nothing_is_right_and_the_prompts_are_the_same(tokenizer):
    pairs = make_prompts("indirect_objects/random_names", tokenizer(), 40, 0)
    assert not pairs.is_right_counterfactual.any()
    assert pairs.texts == make_prompts("indirect_objects", tokenizer(), 40, 0).texts
    for text, changed in zip(pairs.texts, pairs.counterfactuals, strict=True):
        assert len(set(changed.split()) - set(text.split())) == 3


def test_the_asked_object_has_the_right_color(tokenizer):
    pairs = make_prompts("colored_objects", tokenizer(), 60, 0)
    for text, right in said(pairs, tokenizer()):
        example, question = text.split("\nQ: ")
        for part, answer in ((example, example.split("\nA: ")[1]), (question, None)):
            colors = {thing: color for color, thing in re.findall(r" a (\w+) (\w+)", part)}
            assert len(colors) == len(set(colors.values())) == 3
            asked = re.search(r"is the (\w+)\?", part)[1]
            assert (right if answer is None else {f" {answer}"}) == {f" {colors[asked].capitalize()}"}
    shown = {place: [tokenizer().decode([pairs.ids[0, tokens[0]]])] for place, tokens in pairs.places.items()}
    assert shown["answer_color"][0].title() == tokenizer().decode([pairs.answers[0]])
    assert shown["other_color"][0].title() == tokenizer().decode([pairs.others[0]])


def test_the_small_colored_objects_are_one_question_of_three_objects_and_colors(tokenizer):
    asked = [
        re.fullmatch(r"Q: .* a (\w+) (\w+), a (\w+) (\w+), and a (\w+) (\w+)\. What color is the (\w+)\?\nA:", text)
        for text in make_prompts("colored_objects/small", tokenizer(), 200, 0).texts
    ]
    assert all(asked)
    for places in ((1, 3, 5), (2, 4, 6)):
        assert len({each[place] for each in asked for place in places}) == 3


def test_the_form_of_colored_objects_is_the_published_one(tokenizer):
    scene = r"Q: On the (table|desk|floor), (there is|you see|I see) a \w+ \w+, a \w+ \w+, and a \w+ \w+\. "
    asked = r"What color is the \w+\?\nA:"
    for text in make_prompts("colored_objects", tokenizer(), 30, 0).texts:
        assert re.fullmatch(f"{scene}{asked} [A-Z][a-z]+\n{scene}{asked}", text)


TRUE = {
    "capitals": {"France": "Paris", "Italy": "Rome", "Japan": "Tokyo", "Egypt": "Cairo", "Peru": "Lima"},
    "facts": {"gold": "Au", "iron": "Fe", "December": "January", "Sunday": "Monday", "mouse": "mice", "go": "went"},
}


@pytest.mark.parametrize("name", TRUE)
def test_facts_that_everybody_knows(name, tokenizer):
    pairs = make_prompts(name, tokenizer(), 300, 0)
    met = set()
    for text, right in said(pairs, tokenizer()):
        for subject in TRUE[name].keys() & re.findall(r"\w+", text):
            met.add(subject)
            assert right == {f" {TRUE[name][subject]}"}
    assert met == set(TRUE[name])


@pytest.mark.parametrize(("digits", "num_digits"), [("each", 1), ("two", 2)])
def test_greater_years_are_right(digits, num_digits, tokenizer):
    reading = tokenizer(digits)
    pairs = make_prompts("greater_than", reading, 60, 0)
    for texts, is_right in ((pairs.texts, pairs.is_right), (pairs.counterfactuals, pairs.is_right_counterfactual)):
        for text, options, right in zip(texts, pairs.options, is_right, strict=True):
            start, century = re.search(r"from the year (\d{4}) to the year (\d{2})$", text).groups()
            numbers = [reading.decode([option]) for option in options]
            assert {len(number) for number in numbers} == {num_digits}
            # The last year of these tens, if only tens are told: 1749 is not later than 1749.
            later = [int(f"{century}{number:9<2}") > int(start) for number in numbers]
            np.testing.assert_array_equal(right, later)


def test_what_followed_before_follows_again(tokenizer):
    pairs = make_prompts("induction", tokenizer(begins=True), 40, 0)
    both = ((pairs.ids, pairs.answers), (pairs.counterfactual_ids, pairs.others))
    for ids, answers in both:
        for row, answer in zip(ids.tolist(), answers, strict=True):
            assert row[0] == 0, "what begins every text begins this one"
            earlier = row.index(row[-1])
            assert earlier < len(row) - 1
            assert row[earlier + 1] == answer
    rows = np.arange(len(pairs))
    np.testing.assert_array_equal(pairs.ids[rows, pairs.places["earlier"]], pairs.ids[:, -1])
    np.testing.assert_array_equal(pairs.ids[rows, pairs.places["answer"]], pairs.answers)
    np.testing.assert_array_equal(pairs.ids[rows, pairs.places["other"]], pairs.others)


def test_induction_needs_no_words_of_the_tokenizer(tiny_network):
    network = tiny_network("gpt2")
    assert make_prompts("induction", network.tokenizer, 5, 0).ids.shape == (5, 20)
    special = set(network.tokenizer.all_special_ids)
    assert not special & set(make_prompts("induction", network.tokenizer, 50, 0).ids.ravel().tolist())


def test_words_of_several_tokens_are_left_out_and_told(tokenizer):
    cut = tokenizer(without=("Mary", "John"))
    pairs = make_prompts("indirect_objects", cut, 200, 0)
    assert pairs.notes == ("67 of 69 names are single tokens and used",)
    assert not any(name in text for text in pairs.texts for name in (" Mary", " John"))
    whole = make_prompts("indirect_objects", tokenizer(), 200, 0)
    assert any(" Mary" in text for text in whole.texts)


@pytest.mark.parametrize("name", [name for name in PROMPTS if name not in ("induction", "greater_than")])
def test_a_tokenizer_that_cannot_write_them_is_told_with_a_way_out(name, tiny_network):
    with pytest.raises(UserError, match=r"wanted .*tokenizer.*'prompts/induction'"):
        make_prompts(name, tiny_network("gpt2").tokenizer, 8, 0)


def test_years_of_three_digits_and_one_are_refused(tokenizer):
    with pytest.raises(UserError, match="this one does neither"):
        make_prompts("greater_than", tokenizer("three"), 8, 0)


def test_names(tokenizer):
    assert set(prompts()) == {f"prompts/{name}" for name in PROMPTS}
    with pytest.raises(UnknownName, match="Did you mean 'prompts/capitals'"):
        make_prompts("capitls", tokenizer(), 8, 0)
    with pytest.raises(UserError, match="at least 1 pair"):
        make_prompts("capitals", tokenizer(), 0, 0)
