"""Prompts where a bench takes a task: their name and number, and a refusal of whoever asks for classes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NoReturn

from transformers import PreTrainedTokenizerBase

from dimscope.core.errors import UserError
from dimscope.data.catalogue import load_task
from dimscope.data.names import prompts
from dimscope.data.options import TaskOptions
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.data.task import Split, Task

NUM_PAIRS = 64
"""How many pairs of prompts there are, unless `limit` says otherwise."""


@dataclass(frozen=True)
class PromptTask:
    """A set of prompts by its name, 'prompts/capitals', and how many pairs are taken."""

    name: str
    num_pairs: int = NUM_PAIRS

    def pairs(self, tokenizer: PreTrainedTokenizerBase, seed: int) -> PromptPairs:
        """Make the prompts for a model's tokenizer.

        Raises:
            UserError: the tokenizer cannot write them, or there are not so many.
        """
        return make_prompts(self.name, tokenizer, self.num_pairs, seed)

    def split(self, name: str) -> Split:
        """Refuse: prompts have no splits."""
        self._refuse()

    @property
    def train(self) -> Split:
        """Refuse: prompts have no splits."""
        self._refuse()

    @property
    def validation(self) -> Split:
        """Refuse: prompts have no splits."""
        self._refuse()

    @property
    def notes(self) -> tuple[str, ...]:
        """Refuse: what there is to say stands with the pairs."""
        self._refuse()

    @property
    def label_names(self) -> tuple[str, ...]:
        """Refuse: prompts have no classes."""
        self._refuse()

    @property
    def digest(self) -> str:
        """Refuse: what prompts are made of is told by their pairs."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UserError(
            f"wanted sentences with classes, but {self.name!r} are prompts for a language model: take a task such as "
            "movie_reviews, or a method that looks at prompts (`bench.pairs`), such as measure/prompt_accuracy"
        )


def read_task(task: str | Task | PromptTask, options: TaskOptions) -> Task | PromptTask:
    """Give the task of a name; one that is read already is given back.

    >>> read_task("prompts/capitals", TaskOptions(limit=10))
    PromptTask(name='prompts/capitals', num_pairs=10)

    Raises:
        UnknownName: there is no such task.
        UserError: it cannot be fetched or read, or an option would be ignored.
    """
    changed = {option for option, default in TaskOptions() if getattr(options, option) != default}
    if not isinstance(task, str):
        _refuse_all(changed - {"max_length"}, f"the task {task.name!r} is read already")
        return task
    if task not in prompts():
        return load_task(task, options)
    _refuse_all(changed - {"limit"}, f"{task!r} are prompts")
    return PromptTask(task, options.limit or NUM_PAIRS)


def _refuse_all(ignored: Collection[str], why: str) -> None:
    if ignored:
        raise UserError(f"{why}, so {', '.join(sorted(ignored))} would be ignored: leave that out")
