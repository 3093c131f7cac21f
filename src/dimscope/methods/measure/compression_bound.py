"""What the error on new sentences is at most, because so few numbers were trained, beside the error that is measured.

Aghajanyan et al. 2020 (2012.13255, section 5.3) argue that a model fine-tuned by d numbers generalizes by O(√(d / m)).
We compute a bound that holds (`dimscope.numerics.compression_bound`): the d numbers of an adapter are rounded to q bits
each, the model that they then make is scored on its m training sentences, and the best q of a list is taken and paid
for. Beside it stands the paper's relative gap, (train - held-out accuracy) / (1 - held-out accuracy).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.result import Number, Result
from dimscope.numerics.compression_bound import best_bound, description_bits, error_bound, quantize
from dimscope.scoring.classification import accuracy, majority
from dimscope.training.adapters import FILE, Adapter, open_subspace, read_adapter
from dimscope.training.subspace import Subspace

AS_TRAINED = 32
"""The bits of each number of an adapter, which are float32."""

Wrong = dict[str, Bool[np.ndarray, " sentences"]]


class CompressionBound(Method):
    """Bound the error of a model that an adapter makes, and measure it on the training and the validation split."""

    sources = (
        "Aghajanyan, Zettlemoyer & Gupta 2020 (2012.13255), section 5.3",
        "Arora, Ge, Neyshabur & Zhang 2018 (1802.05296), theorem 2.1",
    )

    num_bits: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field((1, 2, 3, 4, 6, 8), min_length=1)
    """Bits for each of the trained numbers: the best of these is taken, and the choice is paid for."""
    confidence: float = Field(0.95, gt=0, lt=1)
    """Share of training sets for which the bound holds."""

    def run(self, bench: Bench) -> Result:
        """Score the adapter's model as it was trained, and with its numbers rounded.

        Raises:
            UserError: the bench stands on no checkpoint of `finetune/random_subspace`, or its head was trained apart.
        """
        file = _file(bench)
        adapter = read_adapter(file)
        _require_all_inside(adapter, file)
        subspace = open_subspace(bench.pretrained.load(adapter.seed), file, adapter)
        trained = _trained(adapter.state)
        wrong = {AS_TRAINED: _wrong(bench, subspace, trained)}
        for num_bits in dict.fromkeys(self.num_bits):
            wrong[num_bits] = _wrong(bench, subspace, quantize(trained, num_bits))
        return Result(
            numbers=[
                *(number for num_bits, each in wrong.items() for number in _errors(each, num_bits)),
                *_gaps(wrong[AS_TRAINED]),
                *self._bounds(wrong, len(trained)),
                _majority_error(bench),
            ],
            notes=[
                f"The bound holds for {self.confidence:.0%} of training sets, if neither the base nor d nor the seed "
                "was chosen by looking at this one."
            ],
        )

    def _bounds(self, wrong: dict[int, Wrong], num_trained: int) -> list[Number]:
        """Give the bound of every number of bits by itself, and of the best, which pays for having been chosen."""
        errors = {num_bits: float(each["train"].mean()) for num_bits, each in wrong.items() if num_bits != AS_TRAINED}
        num_samples = len(wrong[AS_TRAINED]["train"])
        alone = {
            num_bits: error_bound(error, description_bits(num_trained, num_bits), num_samples, self.confidence)
            for num_bits, error in errors.items()
        }
        best, bound = best_bound(errors, num_trained, num_samples, self.confidence)
        return [
            *(Number(name="error_bound", value=each, better="lower", where={"bits": q}) for q, each in alone.items()),
            Number(name="best_error_bound", value=bound, better="lower"),
            Number(name="best_num_bits", value=best, unit="bits"),
            Number(name="is_vacuous", value=bound >= 1),
            Number(name="num_trained", value=num_trained),
            Number(name="num_samples", value=num_samples),
        ]


def _file(bench: Bench) -> Path:
    if bench.checkpoint is None:
        raise UserError("wanted a checkpoint of finetune/random_subspace, whose adapter is measured: give one")
    stored = bench.store.has_checkpoint(bench.checkpoint)
    return (bench.store.checkpoint(bench.checkpoint) if stored else Path(bench.checkpoint)) / FILE


def _require_all_inside(adapter: Adapter, file: Path) -> None:
    if adapter.settings.head == "apart":
        raise UserError(
            f"the head of {file} was trained beside the subspace, so its numbers do not describe the model: wanted an "
            "adapter with the head inside"
        )


def _trained(state: dict[str, Tensor]) -> np.ndarray:
    """Lay the d numbers out as one vector about 0, so that one grid does for all: the factors start at 1."""
    return torch.cat([state["z"], state["factors"] - 1]).numpy()


def _wrong(bench: Bench, subspace: Subspace, trained: np.ndarray) -> Wrong:
    """Move the network there, and tell of every sentence of both splits whether its answer is wrong."""
    numbers = torch.from_numpy(trained)
    num_directions = len(subspace.z)
    subspace.set_state({"z": numbers[:num_directions], "factors": numbers[num_directions:] + 1})
    return {
        split: bench.logits_of(subspace.network, split).argmax(axis=1) != bench.labels(split)
        for split in ("train", "validation")
    }


def _errors(wrong: Wrong, num_bits: int) -> list[Number]:
    return [_error(each, f"{split}_error", bits=num_bits) for split, each in wrong.items()]


def _error(wrong: Bool[np.ndarray, " sentences"], name: str, **where: int) -> Number:
    share = accuracy(wrong, name, **where)
    return Number(name=name, value=share.value, better="lower", interval=share.interval, where=where)


def _gaps(wrong: Wrong) -> list[Number]:
    """Give how much larger the error is on held-out sentences; relative: as a share of that error."""
    train, held_out = (float(wrong[split].mean()) for split in ("train", "validation"))
    relative = (held_out - train) / held_out if held_out else float("nan")
    return [
        Number(name="gap", value=held_out - train, better="lower"),
        Number(name="relative_gap", value=relative, better="lower"),
    ]


def _majority_error(bench: Bench) -> Number:
    return _error(bench.labels("validation") != majority(bench.labels("train")), "majority_error")
