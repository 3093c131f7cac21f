"""A small decoder trained from nothing on prompts, so that what it knows, and why, is known.

A published model may not do a task, and of one that does nobody knows what it was trained on. This makes one in a
few minutes: of the architecture of Llama, GPT-2 or Pythia, with a tokenizer to which every word is one token,
trained on fresh prompts at every step (`dimscope.training.next_token`). With `label_noise` a known share of its
training answers is wrong, which is a known reason not to be sure: the partially corrupted labels of Zhang et al. 2017
(1611.03530, section 2.2), but always another answer, and drawn anew at every visit, so that they cannot be learned by
heart. What is told is told of prompts that it never saw, by the checkpoint as it is opened again.
"""

from __future__ import annotations

from functools import cache
from typing import Self

import numpy as np
import torch
from jaxtyping import Float32
from pydantic import Field, field_validator, model_validator
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from dimscope.core import seeds
from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.result import Array, Number, Result
from dimscope.data.names import prompts
from dimscope.data.prompts.heard import heard_texts
from dimscope.data.prompts.lessons import lessons
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.classify import classify
from dimscope.models.load import Network, load_language_model
from dimscope.models.quiet import quiet
from dimscope.models.whole_words import whole_words
from dimscope.numerics.resampling import mean_interval
from dimscope.scoring.classification import accuracy
from dimscope.scoring.known import Among, answer
from dimscope.scoring.metrics import log_probability
from dimscope.store.files import new_folder
from dimscope.training.checkpoints import sign
from dimscope.training.next_token import NextTokenSettings, teach

_AMONG: tuple[Among, ...] = ("outputs", "options")
_NO_DROPOUT = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
_MLP_SIZES = {"llama": "intermediate_size", "gpt2": "n_inner", "gpt_neox": "intermediate_size"}
"""What each family that can be built calls the number of dims within its MLP."""
_PROMPTS_AT_ONCE = 256


class PromptModel(NextTokenSettings, Method):
    """Train a decoder of the bench's family on its prompts, and on further sets, and ask it others of them."""

    sources = (
        "label noise: Zhang, Bengio, Hardt, Recht & Vinyals 2017 (1611.03530), section 2.2",
        "architectures: Touvron et al. 2023 (2302.13971); Radford et al. 2019",
    )

    also: tuple[str, ...] = ()
    """Further sets that are trained together with the bench's, such as prompts/colored_objects."""
    num_layers: int = Field(3, ge=1)
    """Blocks."""
    num_heads: int = Field(4, ge=1)
    """Attention heads of a block, which share out the dims."""
    hidden_size: int = Field(64, ge=2)
    """Dims of a hidden state."""
    intermediate_size: int = Field(256, ge=1)
    """Dims within the MLP of a block."""

    @field_validator("also")
    @classmethod
    def _known(cls, also: tuple[str, ...]) -> tuple[str, ...]:
        unknown = set(also) - set(prompts())
        if unknown:
            raise ValueError(f"no such prompts: {', '.join(sorted(unknown))}; there are {', '.join(prompts())}")
        return also

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(f"{self.num_heads} heads cannot share out {self.hidden_size} dims in even numbers")
        return self

    def run(self, bench: Bench) -> Result:
        """Train, keep, open again and ask.

        Raises:
            UserError: the task are no prompts, the bench's model is of a family that cannot be built, or a set has too
                few prompts.
            DivergedError: the loss became NaN or infinite.
        """
        family = _family(bench)
        tokenizer = prompt_tokenizer()
        names = tuple(dict.fromkeys([bench.task.name, *self.also]))
        sets = [lessons(name, tokenizer, bench.task.num_pairs, bench.seed) for name in names]
        model = self.decoder(family, tokenizer, bench.seed).to(bench.device)
        with new_folder(bench.store.checkpoint(self.key(bench)), replace=True) as new:
            losses = teach(model, sets, self, bench.seed)
            with quiet():
                model.save_pretrained(new)
                tokenizer.save_pretrained(new)
            sign(new, {"bench": dict(bench.spec)})
            kept = load_language_model(str(new), bench.device)
        numbers = [number for each in sets for number in asked(kept, each.asked)]
        numbers.append(Number(name="num_parameters", value=kept.model.num_parameters()))
        return Result(
            numbers=numbers,
            arrays={"step_loss": Array(losses, ("step", "task"), "nats", {"task": names})},
            notes=[f"The model is checkpoints/{self.key(bench)}."],
            checkpoint=self.key(bench),
        ).at({"model": f"{family} {self.num_layers}x{self.hidden_size}", "weights": "pretrained"})

    def decoder(self, family: str, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
        """Give the model with random weights, drawn from `seed`, stream 'weights'; the global numbers are untouched."""
        config = AutoConfig.for_model(
            family,
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            max_position_embeddings=tokenizer.model_max_length,
            initializer_range=self.hidden_size**-0.5,  # at the usual 0.02 so few dims hardly begin to attend
            **{_MLP_SIZES[family]: self.intermediate_size, **_NO_DROPOUT},
            **dict.fromkeys(("bos_token_id", "eos_token_id")),
            pad_token_id=tokenizer.pad_token_id,
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seeds.integer(seed, "weights"))
            return AutoModelForCausalLM.from_config(config).eval()


@cache
def prompt_tokenizer() -> PreTrainedTokenizerBase:
    """Give the tokenizer to which every word of every set of prompts is one token."""
    return whole_words(heard_texts(whole_words([])))


def asked(network: Network, pairs: PromptPairs) -> list[Number]:
    """Tell loss, probability and accuracy of the prompts' answers, with chance beside."""
    losses = -log_probabilities(network, pairs).astype(np.float64)
    numbers = [
        Number(name="held_out_loss", value=losses.mean(), unit="nats", better="lower", interval=mean_interval(losses)),
        Number(
            name="answer_probability",
            value=np.exp(-losses).mean(),
            better="higher",
            interval=mean_interval(np.exp(-losses)),
        ),
        Number(name="num_asked", value=len(pairs)),
    ]
    answered = answer(network, pairs)
    chance = {"outputs": pairs.is_right.sum(axis=1) / network.num_labels, "options": pairs.is_right.mean(axis=1)}
    for among in _AMONG:
        numbers.append(accuracy(answered.is_right(among), among=among))
        numbers.append(Number(name="chance_accuracy", value=float(chance[among].mean()), where={"among": among}))
    return list(Result(numbers=numbers).at({"task": pairs.name}).numbers)


@torch.inference_mode()
def log_probabilities(network: Network, pairs: PromptPairs) -> Float32[np.ndarray, " pairs"]:
    """Give the logarithm of each prompt's answer's probability."""
    found = []
    for start in range(0, len(pairs), _PROMPTS_AT_ONCE):
        some = pairs.at(np.arange(start, min(start + _PROMPTS_AT_ONCE, len(pairs))))
        logits = classify(
            network, {"input_ids": torch.from_numpy(some.ids), "attention_mask": torch.from_numpy(some.mask)}
        )
        found.append(log_probability(logits.float(), some.answers, some.others).cpu().numpy())
    return np.concatenate(found)


def _family(bench: Bench) -> str:
    if not bench.is_language_model:
        raise UserError(
            f"wanted prompts to train on, got the task {bench.task.name!r}: name one such as prompts/indirect_objects"
        )
    family: str = bench.network.model.config.model_type
    if family not in _MLP_SIZES:
        raise UserError(
            f"the bench's model says of what family the new one is, and {family} cannot be built: "
            "name tiny/llama, tiny/gpt2 or tiny/pythia-70m"
        )
    return family
