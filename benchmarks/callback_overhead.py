"""The share of a training's time that `dimscope.OutlierCallback` takes at its default interval.

python benchmarks/callback_overhead.py [STEPS]: MiniLM on movie reviews, batches of 32, on Trainer's device.
"""

from __future__ import annotations

import sys
import time
from tempfile import TemporaryDirectory

from transformers import Trainer, TrainingArguments

from dimscope import Bench, OutlierCallback


class Timed(OutlierCallback):
    """Adds up the seconds that its own calls take: those at steps, and all."""

    within = everywhere = 0.0

    def on_train_begin(self, *args, **given):
        """Time it."""
        self.everywhere += _seconds(super().on_train_begin, args, given)

    def on_step_end(self, *args, **given):
        """Time it."""
        seconds = _seconds(super().on_step_end, args, given)
        self.within += seconds
        self.everywhere += seconds

    def on_train_end(self, *args, **given):
        """Time it."""
        self.everywhere += _seconds(super().on_train_end, args, given)


def main(num_steps: int) -> None:
    bench = Bench("minilm", "movie_reviews")
    network, train, held_out = bench.load(), bench.task.train, bench.task.validation
    rows = [
        {**network.tokenizer(text, truncation=True, max_length=128), "labels": label}
        for text, label in zip(train.texts, train.labels.tolist(), strict=True)
    ]
    with TemporaryDirectory() as folder:
        callback = Timed(held_out.texts, held_out.labels, out=f"{folder}/followed")
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=32,
            max_steps=num_steps,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(
            network.model, arguments, train_dataset=rows, processing_class=network.tokenizer, callbacks=[callback]
        )
        total = _seconds(trainer.train, (), {})
    steps = callback.result.arrays["step"].values.tolist()
    print(f"{num_steps} steps in {total:.1f} s; measured at {steps}")
    print(f"between first and last step: {callback.within / total:.2%}; with both ends and the page: ", end="")
    print(f"{callback.everywhere / total:.2%} ({callback.everywhere:.1f} s)")


def _seconds(function, args, given) -> float:
    began = time.perf_counter()
    function(*args, **given)
    return time.perf_counter() - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
