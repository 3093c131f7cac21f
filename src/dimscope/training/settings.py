"""How a model is trained: the settings that training methods share."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from dimscope.core.bench import Bench
from dimscope.core.method import Settings
from dimscope.training.precision import native_precision


class PrecisionSettings(Settings):
    """The precision of a training."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the products in training; auto: bfloat16 where the processor multiplies it natively."""

    def resolved(self, bench: Bench) -> Self:
        """Make precision 'auto' definite."""
        if self.precision != "auto":
            return self
        return self.model_copy(update={"precision": native_precision(bench.device)})


class LoopSettings(PrecisionSettings):
    """AdamW on cross-entropy, batches by length: all but the learning rate."""

    epochs: int = Field(2, ge=1)
    """How often every training sentence is seen."""
    batch_size: int = Field(32, ge=1)
    """Sentences per optimizer step, over all processes and accumulation steps together."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decoupled weight decay, on every trained parameter."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """What the learning rate does after warm-up: stays, or falls to 0 along a line or a half cosine."""
    warmup_fraction: float = Field(0.0, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    clip_norm: float | None = Field(None, gt=0)
    """Largest norm of the gradient of all parameters together; none: no clipping."""
    accumulation_steps: int = Field(1, ge=1)
    """Parts in which a batch is computed one after the other, to save memory; the numbers stay the same."""
    keep: Literal["last", "best"] = "last"
    """Which epoch's weights are kept; best goes by validation accuracy, which then is no longer held out."""


class TrainingSettings(LoopSettings):
    """One training."""

    learning_rate: float = Field(5e-5, gt=0)
    """Peak learning rate."""
