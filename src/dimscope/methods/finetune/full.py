"""Fine-tuning of all parameters or a part of them, and how well the model then does the task on held-out sentences.

AdamW (Loshchilov & Hutter 2019, algorithm 2) on cross-entropy. The defaults are those of Rudman, Chen & Eickhoff 2023
(2310.17715, public code: constant learning rate, weight decay 0.01, no clipping, last epoch kept) but for the learning
rate, precision (no float16 with loss scaling) and batches, which hold sentences of similar length.
"""

from __future__ import annotations

from torch import Tensor

from dimscope.core.bench import Bench
from dimscope.core.errors import UserError
from dimscope.core.method import Method
from dimscope.core.processes import is_main
from dimscope.core.result import Number, Result
from dimscope.models.load import Network
from dimscope.scoring.epochs import Epochs
from dimscope.training.chosen import chosen_parameters, train_only
from dimscope.training.loop import DivergedError, TrainingSet, train
from dimscope.training.processes import wait_for_all
from dimscope.training.settings import TrainingSettings


class FullFineTuning(TrainingSettings, Method):
    """Train the parameters on the train split, score on validation, keep a checkpoint."""

    sources = (
        "AdamW: Loshchilov & Hutter 2019, algorithm 2",
        "defaults: Rudman, Chen & Eickhoff 2023, public code",
        "biases alone: Ben Zaken, Goldberg & Ravfogel 2022 (2106.10199), section 3",
    )
    in_all_processes = True

    trained: str = "all"
    """Parameters trained beside the head: all, without_embeddings, attention, biases, last_layer, head (none), or a
    pattern of names such as '*.query.*'."""

    def run(self, bench: Bench) -> Result:
        """Train, score after every epoch, and keep the last or the best epoch's weights.

        Raises:
            UserError: no parameter is called as `trained` says; or the loss became NaN or infinite, and the weights of
                the last good epoch are kept.
        """
        network, checkpoint = bench.load(), self.key(bench)
        trained = chosen_parameters(network.model, self.trained).values()
        train_only(network.model, trained)
        epochs = Epochs(bench, network, self.epochs, self.keep, lambda: _copy(network))
        try:
            losses = train(
                network, TrainingSet(bench.encoded("train"), bench.labels("train")), self, bench.seed, epochs.end
            )
        except DivergedError as error:
            raise _kept_before(error, bench, network, epochs, checkpoint) from error
        if self.keep == "best":
            network.model.load_state_dict(epochs.state)
        _keep(bench, network, checkpoint)
        return Result(
            numbers=[
                *epochs.numbers(losses),
                Number(name="num_trained", value=sum(parameter.numel() for parameter in trained)),
            ],
            arrays=epochs.arrays(losses),
            notes=epochs.notes(self.precision),
            checkpoint=checkpoint,
        ).at({"weights": "fine-tuned"})


def _copy(network: Network) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.model.state_dict().items()}


def _kept_before(error: DivergedError, bench: Bench, network: Network, epochs: Epochs, checkpoint: str) -> UserError:
    """Keep the last good weights of a training that broke off, and word the error that says where they are."""
    if not epochs.state:
        return UserError(str(error))
    name = f"{checkpoint}-epoch-{epochs.kept + 1}"
    network.model.load_state_dict(epochs.state)
    _keep(bench, network, name)
    return UserError(f"{error} The weights after epoch {epochs.kept + 1} are kept as the checkpoint {name}.")


def _keep(bench: Bench, network: Network, checkpoint: str) -> None:
    if is_main():
        bench.keep_checkpoint(network, checkpoint)
    wait_for_all()
