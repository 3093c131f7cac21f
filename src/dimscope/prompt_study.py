"""What recipes share that look inside language models on sets of prompts, and inside small models trained here alike.

A published model may not do a task, and of one that does nobody knows what it was trained on; of a small model trained
here both are known.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from dimscope.core.errors import UnknownName
from dimscope.data.names import prompts
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.methods.build.prompt_model import PromptModel, prompt_tokenizer
from dimscope.methods.locate.path_patching import PathPatching
from dimscope.scoring.cost import TRAINING, Cost
from dimscope.study import Study

FAMILY = "tiny/llama"
"""The architecture of the models that are trained here."""


class PromptStudy(Study):
    """A recipe on language models, sets of prompts, and models trained on these."""

    models: tuple[str, ...] = Field(("smollm2",), min_length=1)
    """Language models: aliases (see `dimscope list models`), hub ids, or local folders."""
    tasks: tuple[str, ...] = Field(("prompts/capitals",), min_length=1)
    """Sets of prompts (see `dimscope list tasks`)."""
    seed: int = Field(1, ge=0)
    """Where prompts, controls and the models trained here come from."""
    path: PathPatching = PathPatching()
    """How paths are followed."""
    from_scratch: bool = True
    """Whether small models are trained on prompts and studied alike."""
    scratch: PromptModel = PromptModel()
    """How they are trained."""

    @field_validator("tasks", "control_tasks", "scratch_tasks", check_fields=False)
    @classmethod
    def _are_prompts(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        for each in tasks:
            if each not in prompts():
                raise UnknownName("prompts", each, prompts())
        return tasks

    @model_validator(mode="after")
    def _names_all_once(self) -> Self:
        for named in (self.models, self.tasks):
            if len(set(named)) < len(named):
                raise ValueError(f"wanted every model and set of prompts once, got {' '.join(named)}")
        return self

    def scratch_cost(self, tasks: tuple[str, ...], num_runs: int) -> Cost:
        """Give what training a small model on these sets takes; to look at it is nothing beside a real one."""
        how, tokenizer = self.scratch, prompt_tokenizer()
        num_multiplied = how.num_layers * how.hidden_size * (4 * how.hidden_size + 3 * how.intermediate_size)
        num_tokens = sum(make_prompts(task, tokenizer, 8, self.seed).mask.sum(axis=1).mean() for task in tasks)
        return Cost(
            num_runs=num_runs,
            num_sentences=0,
            num_parameters=0,
            disk_bytes=4 * (num_multiplied + len(tokenizer) * how.hidden_size),
            training=TRAINING * num_multiplied * how.steps * how.batch_size * num_tokens,
            measuring=0,
        )
