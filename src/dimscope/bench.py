"""The bench: a model, a task, a seed, a device; after fine-tuning a checkpoint too. What is costly is made once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from dimscope.activations import capture
from dimscope.activations.check import STRUCTURE, check
from dimscope.activations.check_heads import heads_are_apart
from dimscope.core import seeds
from dimscope.core.errors import UserError
from dimscope.core.progress import work
from dimscope.data.batching import Encoded, encode, first_sentences, padded_batches
from dimscope.data.options import TaskOptions
from dimscope.data.prompt_task import NUM_PAIRS, PromptTask, read_task
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.data.sentence_pairs import sentence_pairs
from dimscope.data.task import Task
from dimscope.models.catalogue import ModelSource, find
from dimscope.models.devices import device_named
from dimscope.models.direct import classifying, has_direct_pass
from dimscope.models.load import Network, digest, load, load_language_model, load_tokenizer
from dimscope.models.pooling import default_pooling
from dimscope.store.cache import cache_folder
from dimscope.store.layout import Store
from dimscope.training.checkpoints import checkpoint_source, require_classifier, save_checkpoint

Batch = tuple[np.ndarray, dict[str, torch.Tensor]]
Precision = Literal["float32", "bfloat16"]


class Bench:
    """What is studied.

    Args:
        model: an alias (`dimscope list models`), a hub id, or a local folder.
        task: an alias (`dimscope list tasks`), `glue/<name>`, a file, or a `Task`. `prompts/<name>` makes the model a
            language model, and `limit` the number of pairs.
        seed: where everything random comes from: the head's first weights, the order of training, dropout, controls.
        device: 'auto' takes the GPU if there is one.
        out: the folder that keeps runs, checkpoints and states; the user's cache if not given.
        checkpoint: a fine-tuned model to stand on: its hash in `out`, or a folder.
        options: how the task is read, see `dimscope.data.options.TaskOptions`: `limit=1000`, `label_column="stars"`, …

    Raises:
        UnknownName: no such model or task.
        UserError: the data cannot be read, the device is not there, or prompts are to go through a checkpoint.
    """

    def __init__(
        self,
        model: str,
        task: str | Task | PromptTask,
        *,
        seed: int = 1,
        device: str = "auto",
        out: Path | str | None = None,
        checkpoint: str | None = None,
        **options: Any,
    ) -> None:
        self.source = find(model)
        self.options = TaskOptions(**options)
        self.task = read_task(task, self.options)
        self.seed = seed
        self.device = device_named(device)
        self.store = Store(Path(out) if out else cache_folder() / "store")
        self.checkpoint = checkpoint
        if checkpoint and self.is_language_model:
            raise UserError(f"{self.task.name!r} are prompts for a language model: leave a classifier's checkpoint out")
        self._encoded: dict[str, Encoded] = {}
        self._states: dict[tuple[str, str, str, str], np.ndarray] = {}
        self._logits: dict[str, np.ndarray] = {}

    @cached_property
    def spec(self) -> Mapping[str, Any]:
        """What the bench is, in JSON. Equal specs give equal numbers."""
        model: dict[str, Any] = {"name": self.source.name, "digest": digest(self.source)}
        task: dict[str, Any] = {"name": self.task.name}
        if isinstance(self.task, PromptTask):
            model["kind"] = "language model"
            task["digest"] = self._prompts_digest(self.task)
        else:
            task |= {"digest": self.task.digest, "max_length": self.options.max_length}
        return {
            "model": model,
            "task": task,
            "seed": self.seed,
            "device": self.device.type,
            "checkpoint": self._checkpoint_digest(),
        }

    @property
    def is_language_model(self) -> bool:
        """Whether the task is prompts, so that the model's classes are its vocabulary."""
        return isinstance(self.task, PromptTask)

    @cached_property
    def pairs(self) -> PromptPairs:
        """Prompts with their counterfactuals, token for token; of a classifier's task, validation sentences.

        Raises:
            UserError: the model's tokenizer cannot write the prompts, or no two sentences fit.
        """
        if isinstance(self.task, PromptTask):
            return self.task.pairs(load_tokenizer(self.source), self.seed)
        split, encoded = self.task.split("validation"), self.encoded("validation")
        rng = seeds.stream(self.seed, "sentence pairs")
        return sentence_pairs(self.task.name, split, encoded, self.network.pad_id, NUM_PAIRS, rng)

    @property
    def where(self) -> Mapping[str, str | int]:
        """The place of its numbers."""
        weights = "fine-tuned" if self.checkpoint else "pretrained"
        return {"model": self.source.name, "task": self.task.name, "seed": self.seed, "weights": weights}

    @cached_property
    def pretrained(self) -> Self:
        """The same bench before fine-tuning."""
        return self if self.checkpoint is None else self._with(None)

    def finetuned(self, checkpoint: str) -> Self:
        """The same bench standing on a checkpoint: its hash in the store, or a folder."""
        return self._with(checkpoint)

    @cached_property
    def network(self) -> Network:
        """The loaded model, shared by all that only look at it."""
        return self.load()

    def load(self, seed: int | None = None) -> Network:
        """Load the model anew, for whoever changes it, and check it; a new head is drawn from the bench's seed or this.

        Raises:
            UserError: the model's sites or padding are not what they must be; see `dimscope check`.
        """
        if self.is_language_model:
            network = load_language_model(self.source, str(self.device))
        else:
            seed = self.seed if seed is None else seed
            network = load(self._source(), len(self.task.label_names), seed, str(self.device))
        check(network, (*STRUCTURE, heads_are_apart) if self.is_language_model else STRUCTURE)
        return network

    def release(self) -> None:
        """Let go of the network and the states in memory; both are found again when they are asked for."""
        self.__dict__.pop("network", None)
        self._states.clear()

    @property
    def label_names(self) -> list[str]:
        """The names of the classes 0, 1, …"""
        return list(self.task.label_names)

    def labels(self, split: str) -> Int[np.ndarray, " sentences"]:
        """The class of every sentence of the split 'train' or 'validation'."""
        return self.task.split(split).labels

    def encoded(self, split: str) -> Encoded:
        """The split as token ids, cut to the task's maximum length and the model's."""
        if split not in self._encoded:
            self._encoded[split] = encode(self.network.tokenizer, self.task.split(split), self._max_length)
        return self._encoded[split]

    @property
    def _max_length(self) -> int:
        """The greatest number of tokens of a sentence: the task's, or the model's if that is less."""
        return min(self.options.max_length, self.network.max_length)

    def batches(self, split: str, max_sentences: int | None = None, *, padding_counts: bool = True) -> Iterator[Batch]:
        """The split, or its first sentences, in batches of similar length, each with the places of its sentences.

        For a pass that computes nothing for padding, it need not count.
        """
        encoded = self.encoded(split)
        with work(f"{split} sentences", len(encoded.lengths[:max_sentences])) as done:
            given = encoded, self.network.pad_id, self._max_length, max_sentences
            for indices, batch in padded_batches(*given, padding_counts=padding_counts):
                yield indices, {name: tensor.to(self.device) for name, tensor in batch.items()}
                done(len(indices))

    def states(
        self, split: str, site: str = "final", pooling: str = "auto", precision: Precision = "float32"
    ) -> Float32[np.ndarray, "sentences dims"]:
        """The pooled state of every sentence at one site, in the split's order."""
        return self.states_at(split, [site], pooling, precision)[site]

    def states_at(
        self, split: str, sites: Sequence[str], pooling: str = "auto", precision: Precision = "float32"
    ) -> dict[str, Float32[np.ndarray, "sentences dims"]]:
        """The pooled states at several sites, all from one forward pass; from the store where they are there.

        `precision` is that of the products; bfloat16 is faster where the processor has it, and off by half a percent.
        """
        pooling = self._definite(pooling)
        missing = [site for site in sites if not self._stored(split, site, pooling, precision)]
        if missing:
            batches = self.batches(split, padding_counts=not capture.skips_padding(self.network, missing))
            taken = capture.states(self.network, batches, missing, pooling, getattr(torch, precision))
            for site, states in taken.items():
                self.store.save_states(self.about_states(split, site, pooling, precision), states)
                self._states[split, site, pooling, precision] = states
        return {site: self._states[split, site, pooling, precision] for site in sites}

    def token_states(
        self, split: str, sites: Sequence[str], max_sentences: int | None = None
    ) -> Iterator[tuple[dict[str, Float[np.ndarray, "batch tokens dims"]], Int[np.ndarray, "batch tokens"]]]:
        """The states of all tokens at several sites, a batch at a time, each with the batch's attention mask."""
        return capture.tokens(self.network, self.batches(split, max_sentences), sites)

    def logits(self, split: str) -> Float32[np.ndarray, "sentences classes"]:
        """The classifier's logits.

        Raises:
            UserError: the bench has no checkpoint, so that its head has learned nothing, or no classes.
        """
        self.labels(split)  # where there are none, that is what is wrong
        if not self.checkpoint:
            raise UserError(
                "a pretrained model's classifier has learned nothing: fine-tune it first, or give a checkpoint"
            )
        if split not in self._logits:
            self._logits[split] = self.logits_of(self.network, split)
        return self._logits[split]

    def logits_of(self, network: Network, split: str) -> Float32[np.ndarray, "sentences classes"]:
        """The logits that a network gives, be it edited, or in the middle of its training."""
        out = np.empty((len(self.labels(split)), len(self.label_names)), np.float32)
        logits = classifying(network)
        with torch.inference_mode():
            for indices, batch in self.batches(split, padding_counts=not has_direct_pass(network)):
                out[indices] = logits(batch).float().cpu().numpy()
        return out

    def keep_checkpoint(self, network: Network, key: str) -> str:
        """Store a trained network under `key`, after reopening it and comparing its logits."""
        probe = first_sentences(self.encoded("validation"), network.pad_id)
        batch = {name: tensor.to(network.device) for name, tensor in probe.items()}
        save_checkpoint(self.store.checkpoint(key), network, self.label_names, {"bench": dict(self.spec)}, batch)
        return key

    def states_folder(
        self, split: str, site: str = "final", pooling: str = "auto", precision: Precision = "float32"
    ) -> Path:
        """The folder that keeps these states, once they were taken."""
        pooling = self._definite(pooling)
        return self.store.states(self.about_states(split, site, pooling, precision))

    def about_states(self, split: str, site: str, pooling: str, precision: Precision = "float32") -> dict[str, Any]:
        """What states are the states of. The seed is in the checkpoint's hash; pretrained states have none."""
        shared = {name: part for name, part in self.spec.items() if name != "seed"}
        return {**shared, "split": split, "site": site, "pooling": pooling, "precision": precision}

    def _definite(self, pooling: str) -> str:
        return default_pooling(self.network) if pooling == "auto" else pooling

    def _stored(self, split: str, site: str, pooling: str, precision: Precision) -> bool:
        """Bring states from the store to hand, and tell whether they were there."""
        key = split, site, pooling, precision
        if key not in self._states:
            found = self.store.load_states(self.about_states(*key))
            if found is None:
                return False
            self._states[key] = found.numpy()
        return True

    def _with(self, checkpoint: str | None) -> Self:
        same: dict[str, Any] = {"seed": self.seed, "device": self.device.type, "out": self.store.root}
        max_length = self.options.max_length
        return type(self)(self.source.name, self.task, **same, checkpoint=checkpoint, max_length=max_length)

    def _prompts_digest(self, task: PromptTask) -> str:
        """Tell which prompts these are. What the tokenizer cannot write may still be what a new model learns."""
        try:
            return self.pairs.digest
        except UserError:
            return f"{task.num_pairs} pairs"

    def _source(self) -> ModelSource:
        """Give where the classifier's weights lie."""
        if not self.checkpoint:
            return self.source
        source = checkpoint_source(self.store, self.checkpoint)
        require_classifier(Path(source.location), self.spec["model"], len(self.task.label_names))
        return source

    def _checkpoint_digest(self) -> str | None:
        if not self.checkpoint or self.store.has_checkpoint(self.checkpoint):
            return self.checkpoint
        return digest(checkpoint_source(self.store, self.checkpoint))
