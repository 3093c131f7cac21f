"""What a method may ask of a bench. The bench itself stands in `dimscope.bench`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

if TYPE_CHECKING:  # it takes as long as all else that listing the methods needs
    import numpy as np


class Bench(Protocol):
    """A model, a task, a seed, a device; after fine-tuning a checkpoint too."""

    seed: int
    task: Any
    device: Any
    store: Any

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the bench is, in JSON. Equal specs give equal numbers."""

    @property
    def where(self) -> Mapping[str, str | int]:
        """The place of its numbers: model, task, seed, weights ('pretrained' or 'fine-tuned')."""

    @property
    def checkpoint(self) -> str | None:
        """The hash of the checkpoint that it stands on, None for the model as it was published."""

    @property
    def pretrained(self) -> Self:
        """The same bench before fine-tuning."""

    def finetuned(self, checkpoint: str) -> Self:
        """The same bench after fine-tuning."""

    @property
    def network(self) -> Any:
        """The loaded model with its tokenizer and sites (`dimscope.models.load.Network`)."""

    @property
    def is_language_model(self) -> bool:
        """Whether the task is prompts, so that the model's classes are its vocabulary; it then has no labels."""

    @property
    def pairs(self) -> Any:
        """Prompts or sentences with their counterfactuals (`dimscope.data.prompts.pairs.PromptPairs`)."""

    @property
    def label_names(self) -> list[str]:
        """The names of the classes 0, 1, …"""

    def labels(self, split: str) -> np.ndarray:
        """The class of every sentence of the split: integers [sentences]."""

    def encoded(self, split: str) -> Any:
        """The split as token ids (`dimscope.data.batching.Encoded`)."""

    def load(self, seed: int | None = None) -> Any:
        """The model loaded anew, for whoever changes it; a new head is drawn from the bench's seed or this one."""

    def batches(self, split: str, max_sentences: int | None = None) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
        """The split, or its first sentences, in batches of similar length, each with the places of its sentences."""

    def states(
        self,
        split: str,
        site: str = "final",
        pooling: str = "auto",
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> np.ndarray:
        """The pooled state of every sentence, float32 [sentences, dims], in the split's order; cached."""

    def states_at(
        self,
        split: str,
        sites: Sequence[str],
        pooling: str = "auto",
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> dict[str, np.ndarray]:
        """The same at several sites, from one forward pass."""

    def token_states(
        self, split: str, sites: Sequence[str], max_sentences: int | None = None
    ) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        """The states of all tokens at several sites [batch, tokens, dims] with the mask, a batch at a time."""

    def logits_of(self, network: Any, split: str) -> np.ndarray:
        """The logits that a network gives, be it edited, or in the middle of its training."""

    def logits(self, split: str) -> np.ndarray:
        """The classifier's logits, float32 [sentences, classes]; only a bench with a checkpoint has them."""

    def keep_checkpoint(self, network: Any, key: str) -> str:
        """Store a trained network under `key`, after reopening it and comparing its logits; gives the hash."""
