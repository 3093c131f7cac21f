"""Fine-tuning of all parameters: against transformers' Trainer with its defaults, in float32 and in bfloat16.

Each way trains MiniLM for one epoch on the same reviews, batches of 32, learning rate 5e-5 falling to 0 along a line
(Trainer's default), and is scored on the same held-out reviews; so every turn gives both a time and an accuracy, and
the seeds are the turns. Trainer pads batches drawn at random, which is its default; ours holds sentences of similar
length. Time is that of training alone: no loading, no scoring, no tokenizing (Trainer is given token ids).

python benchmarks/finetune.py [--quick] [--json]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np
import torch
from frame.versus import Row, main
from transformers import Trainer, TrainingArguments

from dimscope import Bench
from dimscope.data.catalogue import load_task
from dimscope.data.options import TaskOptions
from dimscope.data.task import Split
from dimscope.methods.finetune.full import FullFineTuning
from dimscope.models.load import Network
from dimscope.training.loop import TrainingSet, train
from dimscope.training.precision import native_precision

BATCH = 32
QUICK_SENTENCES, WARM_UP_SENTENCES = 320, 96
SEEDS = (1, 2, 3)

Way = Callable[[Bench, Network], None]


def ours(bench: Bench, network: Network) -> None:
    """Train as `dimscope run finetune/full` does."""
    settings = FullFineTuning(epochs=1, schedule="linear", batch_size=BATCH).resolved(bench)
    train(network, TrainingSet(bench.encoded("train"), bench.labels("train")), settings, bench.seed)


def trainer(in_bfloat16: bool) -> Way:
    """Give Trainer's way: its defaults, but for what is said to it here."""

    def train_by_trainer(bench: Bench, network: Network) -> None:
        rows = [
            {"input_ids": ids.tolist(), "labels": int(label)}
            for ids, label in zip(bench.encoded("train").ids, bench.labels("train"), strict=True)
        ]
        with TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder,
                per_device_train_batch_size=BATCH,
                num_train_epochs=1,
                seed=bench.seed,
                bf16=in_bfloat16,
                use_cpu=bench.device.type == "cpu",
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            )
            given = Trainer(network.model, arguments, train_dataset=rows, processing_class=network.tokenizer)
            given.train()
        network.model.eval()

    return train_by_trainer


def compare(quick: bool) -> Iterator[Row]:
    ways = {"ours": ours, "float32": trainer(in_bfloat16=False), "bfloat16": trainer(in_bfloat16=True)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    accuracies: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        warm = _bench(0, WARM_UP_SENTENCES)
        way(warm, warm.load())
    for seed in SEEDS[:1] if quick else SEEDS:
        bench = _bench(seed, QUICK_SENTENCES if quick else None)
        bench.encoded("train")
        for name, way in ways.items():
            network = bench.load()
            began = time.perf_counter()
            way(bench, network)
            seconds[name].append(time.perf_counter() - began)
            right = bench.logits_of(network, "validation").argmax(1) == bench.labels("validation")
            accuracies[name].append(float(right.mean()))
    num_sentences = len(bench.labels("train"))
    rates = {name: num_sentences / statistics.median(each) for name, each in seconds.items()}
    possible = _possible(bench)
    what = f"fine-tuning on {num_sentences:,} sentences, {native_precision(bench.device)}"
    for name, at_least in (("float32", 4.5), ("bfloat16", 2.7)):
        peer = f"{what}: Trainer, {name}"
        yield Row(
            peer, rates["ours"] / rates[name], at_least, "higher", rates["ours"], rates[name], "sentences/s", **possible
        )
    means = {name: 100 * statistics.mean(each) for name, each in accuracies.items()}
    difference = abs(means["ours"] - means["float32"])
    name = f"held-out accuracy over {len(accuracies['ours'])} seeds, distance from Trainer, float32"
    yield Row(name, difference, 1.0, "lower", means["ours"], means["float32"], "percent")


def _bench(seed: int, limit: int | None) -> Bench:
    task = load_task("movie_reviews", TaskOptions())
    task = replace(task, train=Split(task.train.texts[:limit], task.train.labels[:limit]))
    return Bench("minilm", task, seed=seed)


def _possible(bench: Bench) -> dict[str, float | str]:
    """Give the sentences per second of the needed products alone and one pass over AdamW's state.

    The products are three to a weight and token (forward, and both gradients), but for the last block, of which one
    token a sentence is needed; AdamW reads and writes 28 bytes a parameter.
    """
    network = bench.network
    parameters = list(network.model.base_model.encoder.parameters())
    weights = sum(each.numel() for each in parameters if each.ndim == 2)
    last = weights / network.num_layers
    mean_length = float(np.mean(bench.encoded("train").lengths))
    operations = 6 * BATCH * (mean_length * (weights - last) + last)
    state = 28 * sum(each.numel() for each in network.model.parameters())
    seconds = operations / _products_per_second(bench) + state / _bytes_per_second()
    return {
        "floor": BATCH / seconds,
        "floor_is": "products at the rate of 2,048 × 2,048, and one pass over AdamW's state",
    }


def _products_per_second(bench: Bench, size: int = 2048) -> float:
    dtype = getattr(torch, native_precision(bench.device))
    left, right = (torch.randn(size, size, device=bench.device).to(dtype) for _ in range(2))
    return 2 * size**3 / _median_seconds(lambda: left @ right)


def _bytes_per_second(num_floats: int = 2**26) -> float:
    values = torch.ones(num_floats)
    return 8 * num_floats / _median_seconds(lambda: values.add_(1))


def _median_seconds(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(7):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[2:])


if __name__ == "__main__":
    main(__file__, [compare])
