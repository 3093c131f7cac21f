from __future__ import annotations

import pytest

from dimscope.core.errors import UnknownName, UserError
from dimscope.data.options import TaskOptions
from dimscope.data.prompt_task import NUM_PAIRS, PromptTask, read_task
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.models.load import load_tokenizer


def test_a_name_of_prompts_gives_prompts_and_the_limit_their_number(tiny_folder):
    assert read_task("prompts/induction", TaskOptions()) == PromptTask("prompts/induction", NUM_PAIRS)
    task = read_task("prompts/induction", TaskOptions(limit=5))
    tokenizer = load_tokenizer(str(tiny_folder("gpt2")))
    assert task.pairs(tokenizer, 3).digest == make_prompts("induction", tokenizer, 5, 3).digest


def test_what_is_read_already_is_given_back(reviews):
    assert read_task(reviews, TaskOptions(max_length=8)) is reviews
    with pytest.raises(UserError, match="the task 'reviews' is read already, so limit, text_column would be ignored"):
        read_task(reviews, TaskOptions(limit=3, text_column="x"))


def test_options_that_prompts_would_ignore_are_refused():
    with pytest.raises(UserError, match="'prompts/induction' are prompts, so label_column, max_length would be"):
        read_task("prompts/induction", TaskOptions(limit=3, label_column="x", max_length=9))


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'prompts/induction'"):
        read_task("prompts/inducton", TaskOptions())


@pytest.mark.parametrize("asked", ["label_names", "train", "validation", "notes", "digest"])
def test_what_prompts_have_not_is_told(asked: str):
    with pytest.raises(UserError, match="'prompts/facts' are prompts for a language model"):
        getattr(PromptTask("prompts/facts"), asked)
