"""Fine-tuning by low-rank adapters: a checkpoint that needs no adapter, and the adapter in peft's own layout.

Hu et al. 2021 (2106.09685, section 4.1), by peft's implementation, trained by our loop so that its numbers stand beside
those of the other ways to train few numbers. Settings differ from the paper's: all linear maps of the attention get an
adapter by default, where the paper takes queries and values.
"""

from __future__ import annotations

from pydantic import Field

from dimscope.core.bench import Bench
from dimscope.core.method import Method
from dimscope.core.processes import is_main
from dimscope.core.result import Number, Result
from dimscope.scoring.epochs import Epochs
from dimscope.training.loop import TrainingSet, train
from dimscope.training.low_rank import LowRank, LowRankSettings
from dimscope.training.processes import wait_for_all
from dimscope.training.settings import TrainingSettings


class Lora(LowRankSettings, TrainingSettings, Method):
    """Train low-rank adapters on the train split, score on validation, keep a merged checkpoint and the adapter."""

    sources = ("Hu et al. 2021 (2106.09685), section 4.1",)
    in_all_processes = True

    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate of the adapters and the head."""

    def run(self, bench: Bench) -> Result:
        """Train, score after every epoch, and keep the last or the best epoch's weights.

        Raises:
            UserError: peft is not installed, no linear map is called as `targets` says, or the loss became NaN or
                infinite.
        """
        network, checkpoint = bench.load(), self.key(bench)
        adapted = LowRank(network, self, bench.seed)
        epochs = Epochs(bench, network, self.epochs, self.keep, adapted.state)
        data = TrainingSet(bench.encoded("train"), bench.labels("train"))
        losses = train(network, data, self, bench.seed, epochs.end)
        if self.keep == "best":
            adapted.set_state(epochs.state)
        if is_main():
            bench.keep_checkpoint(adapted.merged(), checkpoint)
            adapted.save(bench.store.checkpoint(checkpoint) / "adapter")
        wait_for_all()
        return Result(
            numbers=[
                *epochs.numbers(losses),
                Number(name="num_trained", value=adapted.num_trained),
                Number(name="num_trained_head", value=adapted.num_trained_head),
            ],
            arrays=epochs.arrays(losses),
            notes=[f"The adapter is checkpoints/{checkpoint}/adapter.", *epochs.notes(self.precision)],
            checkpoint=checkpoint,
        ).at({"weights": "fine-tuned"})
