"""Fine-tuning with d trained numbers that move all parameters along random directions, and an adapter of a few KB.

θ = θ₀ + P z: Li et al. 2018 (1804.08838, section 2); with one factor per module, θ = θ₀ + λ P z: Aghajanyan et al. 2020
(2012.13255, the "structure-aware" form). We differ: P is by default balanced and orthonormal (which maps there are, and
how each is scaled, stands in `dimscope.numerics.projections`), gradients are exact where their public code scales every
tensor's by one over its padded size, and tied weights move under all their names.
"""

from __future__ import annotations

from pydantic import Field

from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.processes import is_main
from dimscope.core.result import Number, Result
from dimscope.scoring.epochs import Epochs
from dimscope.training.adapters import FILE, save_adapter
from dimscope.training.loop import TrainingSet, train
from dimscope.training.processes import wait_for_all
from dimscope.training.settings import TrainingSettings
from dimscope.training.subspace import Subspace, SubspaceSettings


class RandomSubspace(SubspaceSettings, TrainingSettings, Method):
    """Train d numbers on the train split, score on validation, keep a checkpoint and an adapter."""

    sources = (
        "Li, Farkhoor, Liu & Yosinski 2018 (1804.08838), section 2",
        "Aghajanyan, Zettlemoyer & Gupta 2020 (2012.13255), direct and structure-aware intrinsic dimension",
    )
    version = 2
    in_all_processes = True

    learning_rate: float = Field(3e-2, gt=0)
    """Peak learning rate of the trained numbers, a hundred times and more that of parameters."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decoupled weight decay on z, which draws the model towards the pretrained one."""
    clip_norm: float | None = Field(None, gt=0)
    """Largest norm of the gradient of the moved parameters, before it is pulled back; none: no clipping."""

    def run(self, bench: Bench) -> Result:
        """Train, score after every epoch, and keep the last or the best epoch's numbers.

        Raises:
            UserError: the loss became NaN or infinite, or the parameters cannot be moved by so many numbers.
        """
        network, checkpoint = bench.load(), self.key(bench)
        subspace = Subspace(network, self, bench.seed)
        epochs = Epochs(bench, network, self.epochs, self.keep, subspace.state)
        data = TrainingSet(bench.encoded("train"), bench.labels("train"))
        losses = train(network, data, self, bench.seed, epochs.end, optimizer=subspace.optimizer)
        if self.keep == "best":
            subspace.set_state(epochs.state)
        if is_main():
            bench.keep_checkpoint(network, checkpoint)
            save_adapter(bench.store.checkpoint(checkpoint) / FILE, subspace, bench.label_names)
        wait_for_all()
        return Result(
            numbers=[*epochs.numbers(losses), *_counts(subspace)],
            arrays=epochs.arrays(losses),
            notes=[*_notes(self, checkpoint), *epochs.notes(self.precision)],
            checkpoint=checkpoint,
        ).at({"weights": "fine-tuned"})


def _counts(subspace: Subspace) -> list[Number]:
    """Tell how many numbers were trained, and how many parameters they moved."""
    num_parameters = sum(parameter.numel() for parameter in subspace.network.model.parameters())
    return [
        Number(name="num_trained", value=subspace.settings.num_trained),
        Number(name="num_factors", value=len(subspace.factors)),
        Number(name="num_trained_apart", value=sum(each.numel() for each in subspace.apart.values())),
        Number(name="num_moved_parameters", value=subspace.num_moved),
        Number(name="num_parameters", value=num_parameters),
        Number(name="distance", value=subspace.distance()),
    ]


def _notes(settings: RandomSubspace, checkpoint: str) -> list[str]:
    head = "inside the subspace" if settings.head == "inside" else "trained fully, beside the subspace"
    return [
        f"Projection {settings.projection}; the classifier was {head}.",
        f"The adapter is checkpoints/{checkpoint}/{FILE}.",
    ]
