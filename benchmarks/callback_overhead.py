"""The share of a training's time that `dimscope.OutlierCallback` takes at its default interval.

MiniLM on movie reviews, batches of 32, on Trainer's device. Only what it does at steps is held against the 2 % that it
keeps to; the check of the model before, the last measurement and the page are told too.

python benchmarks/callback_overhead.py [--quick] [--json]
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from tempfile import TemporaryDirectory

from frame.versus import Row, main
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


def overhead(quick: bool) -> Iterator[Row]:
    num_steps = 10 if quick else 1000
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
    print(f"from first to last, with the check before and the page: {callback.everywhere:.1f} s of {total:.1f} s")
    yield Row.cost(f"{num_steps} steps: in the callback, in all", callback.within, total, at_most=0.02)


def _seconds(function, args, given) -> float:
    began = time.perf_counter()
    function(*args, **given)
    return time.perf_counter() - began


if __name__ == "__main__":
    main(__file__, [overhead])
