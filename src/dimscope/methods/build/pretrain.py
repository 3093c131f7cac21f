"""A small encoder pretrained from nothing on a task's texts, kept after chosen numbers of steps.

Aghajanyan et al. 2020 (2012.13255, section 5.1) pretrain RoBERTa anew to follow its intrinsic dimension over the
updates; this makes such a series of a size that two cores can train. The model is BERT's (Devlin et al. 2019,
1810.04805), its tokenizer made from the training texts, its objective masked language modeling
(`dimscope.training.masked`). Beside its loss and accuracy on held-out sentences stand those of the unigram baseline,
which knows how often each token comes and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

import numpy as np
import torch
from jaxtyping import Int
from pydantic import Field, model_validator
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerBase

from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.progress import say
from dimscope.core.result import Array, Number, Result
from dimscope.data.batching import Encoded, encode
from dimscope.models.quiet import quiet
from dimscope.models.word_pieces import word_pieces
from dimscope.scoring.classification import accuracy
from dimscope.store.files import new_folder
from dimscope.training.checkpoints import sign
from dimscope.training.masked import MaskedSettings, Told, masking, pretrain, told


class Pretraining(MaskedSettings, Method):
    """Pretrain an encoder of BERT's kind on the train split's texts, and score it on the validation split's."""

    sources = (
        "Devlin, Chang, Lee & Toutanova 2019 (1810.04805), section 3.1, task 1",
        "a series over steps: Aghajanyan, Zettlemoyer & Gupta 2020 (2012.13255), section 5.1",
    )

    num_layers: int = Field(4, ge=1)
    """Blocks."""
    hidden_size: int = Field(128, ge=1)
    """Dims of a hidden state."""
    num_heads: int = Field(4, ge=1)
    """Attention heads of a block, which share out the dims."""
    intermediate_size: int = Field(512, ge=1)
    """Dims within the MLP of a block."""
    vocabulary: int = Field(8000, ge=300)
    """Tokens of the tokenizer, at most: letters, then the most frequent words."""
    keep_at: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Numbers of steps after which the model is kept, beside the last; 0 is the random start."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"{self.num_heads} heads cannot share out {self.hidden_size} dims evenly")
        if max(self.keep_at, default=0) > self.steps:
            raise ValueError(f"nothing can be kept after step {max(self.keep_at)}: there are {self.steps} steps")
        return self

    def run(self, bench: Bench) -> Result:
        """Pretrain, score and keep the model after the chosen steps.

        Raises:
            UserError: the bench's model is of another family than BERT's; or the loss became NaN or infinite.
        """
        _require_bert(bench)
        tokenizer = word_pieces(_texts(bench, "train"), self.vocabulary, bench.spec["task"]["max_length"])
        encoded, held_out = (_encoded(bench, tokenizer, split) for split in ("train", "validation"))
        model = self.encoder(tokenizer, bench.seed).to(bench.device)
        with new_folder(bench.store.checkpoint(self.key(bench)), replace=True) as new:
            series = _Series(self, model, tokenizer, held_out, bench.seed, new)
            losses = pretrain(model, encoded, tokenizer, self, bench.seed, series.after_step)
            sign(new, {"bench": dict(bench.spec)})
        return Result(
            numbers=[*series.numbers, *unigram(_counts(encoded, tokenizer), series.targets), *_sizes(model)],
            arrays={"step_loss": Array(losses, ("step",), "nats")},
            notes=[
                f"The model after {step} steps is checkpoints/{self.key(bench)}/{_name(step)}."
                for step in series.kept_at
            ],
            checkpoint=self.key(bench),
        ).at({"model": f"bert {self.num_layers}x{self.hidden_size}", "weights": "pretrained"})

    def encoder(self, tokenizer: PreTrainedTokenizerBase, seed: int) -> BertForMaskedLM:
        """Give the model with random weights, drawn from `seed`, stream 'weights'; the global numbers are untouched."""
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            intermediate_size=self.intermediate_size,
            max_position_embeddings=tokenizer.model_max_length,
            pad_token_id=tokenizer.pad_token_id,
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seeds.integer(seed, "weights"))
            return BertForMaskedLM(config).eval()


class _Series:
    """The models that are kept, and how each does on the same held-out sentences with the same tokens hidden."""

    def __init__(
        self,
        settings: Pretraining,
        model: BertForMaskedLM,
        tokenizer: PreTrainedTokenizerBase,
        held_out: Encoded,
        seed: int,
        folder: Path,
    ) -> None:
        self._model, self._tokenizer, self._held_out, self._folder = model, tokenizer, held_out, folder
        self._fraction, self._seed = settings.masked_fraction, seeds.integer(seed, "held-out masks")
        self.kept_at = sorted({*settings.keep_at, settings.steps})
        self.numbers: list[Number] = []
        self.targets = np.empty(0, np.int64)

    def after_step(self, step: int) -> None:
        """Score and keep the model, if it is time."""
        if step not in self.kept_at:
            return
        # Masks come in the order of a generator, so that a new one of the same seed hides the same tokens again.
        masked = masking(self._tokenizer, self._held_out, self._fraction, self._seed)
        answered = told(self._model, masked, self._held_out.lengths)
        self.numbers += masked_numbers(answered, step)
        self.targets = answered.targets
        say(f"step {step}: held-out masked loss {self.numbers[-2].value:.3f}, accuracy {self.numbers[-1].value:.3f}")
        with quiet():
            self._model.save_pretrained(self._folder / _name(step))
            self._tokenizer.save_pretrained(self._folder / _name(step))


def masked_numbers(answered: Told, step: int) -> list[Number]:
    """Give the mean loss of the hidden tokens, and the share of them that was told."""
    return [
        Number(name="masked_loss", value=answered.losses.mean(), unit="nats", better="lower", where={"step": step}),
        accuracy(answered.answers == answered.targets, "masked_accuracy", step=step),
    ]


def unigram(counts: Int[np.ndarray, " tokens"], targets: Int[np.ndarray, " hidden"]) -> list[Number]:
    """Score the baseline that gives each token its share of the training texts; each counts once more than it came.

    >>> [round(number.value, 3) for number in unigram(np.array([0, 2, 1]), np.array([1, 1, 2]))]
    [0.828, 0.667]
    """
    shares = (counts + 1) / (counts + 1).sum()
    return [
        Number(name="unigram_loss", value=-np.log(shares[targets]).mean(), unit="nats", better="lower"),
        accuracy(targets == counts.argmax(), "unigram_accuracy"),
    ]


def _require_bert(bench: Bench) -> None:
    family = bench.network.model.config.model_type
    if family != "bert":
        raise UserError(
            f"the bench's model says of what family the new one is, and only BERT's can be built: got {family}. "
            "Name tiny/bert"
        )


def _texts(bench: Bench, split: str) -> list[str]:
    return [text for texts in bench.task.split(split).inputs() for text in texts]


def _encoded(bench: Bench, tokenizer: PreTrainedTokenizerBase, split: str) -> Encoded:
    return encode(tokenizer, bench.task.split(split), tokenizer.model_max_length)


def _counts(encoded: Encoded, tokenizer: PreTrainedTokenizerBase) -> Int[np.ndarray, " tokens"]:
    """Count the tokens that can be hidden: special ones never are."""
    counts = np.bincount(np.concatenate(list(encoded.ids)), minlength=len(tokenizer))
    counts[tokenizer.all_special_ids] = 0
    return counts


def _sizes(model: BertForMaskedLM) -> list[Number]:
    """Count the parameters, of which the words' table is the encoder's, though the head uses it too."""
    encoder, whole = (sum(each.numel() for each in part.parameters()) for part in (model.bert, model))
    return [
        Number(name="num_parameters", value=encoder, where={"part": "encoder"}),
        Number(name="num_parameters", value=whole - encoder, where={"part": "head"}),
    ]


def _name(step: int) -> str:
    return f"step-{step}"
