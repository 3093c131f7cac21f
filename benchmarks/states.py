"""Sentence states: against a plain loop over the model, and against sentence-transformers.

The plain loop is what a script does: batches of 32 in file order, padded, `output_hidden_states=True`, the first
token's last state. sentence-transformers sorts by length; it is asked for the same first token. All three tokenize, and
the states are compared before any time is told. Ours also writes them to disk, as it always does.

python benchmarks/states.py [--quick] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from frame.fresh import fresh
from frame.versus import Row, alternate, main, peer

from dimscope import Bench
from dimscope.data.catalogue import load_task
from dimscope.data.options import TaskOptions
from dimscope.data.task import Split
from dimscope.models.folders import folder

BATCH = 32
FLOAT32_TOLERANCE = 1e-5


@dataclass
class Ways:
    """The ways to the states of the same sentences."""

    bench: Bench
    texts: list[str]

    def ours(self, precision: str = "float32") -> np.ndarray:
        """Take them as a user does, with nothing found in the store."""
        with TemporaryDirectory() as out:
            bench = Bench(self.bench.source.name, self.bench.task, out=out)
            bench.__dict__["network"] = self.bench.network
            return bench.states("train", precision=precision)

    @torch.inference_mode()
    def loop(self) -> np.ndarray:
        """Take them as a script does."""
        network, parts = self.bench.network, []
        for start in range(0, len(self.texts), BATCH):
            batch = network.tokenizer(
                self.texts[start : start + BATCH], padding=True, truncation=True, max_length=128, return_tensors="pt"
            )
            hidden = network.model.base_model(**batch, output_hidden_states=True).hidden_states
            parts.append(hidden[-1][:, 0].numpy())
        return np.concatenate(parts)

    def sentence_transformers(self, module: Any) -> Any:
        """Give sentence-transformers' way."""
        parts = peer("sentence_transformers.sentence_transformer.modules")
        words = parts.Transformer(str(folder(self.bench.source)), max_seq_length=128)
        pooling = parts.Pooling(self.bench.network.hidden_size, pooling_mode="cls")
        model = module.SentenceTransformer(modules=[words, pooling], device="cpu")
        return lambda: model.encode(self.texts, batch_size=BATCH, show_progress_bar=False)


def compare(quick: bool) -> Iterator[Row]:
    ways, repeats = _ways(300 if quick else None), 2 if quick else 3
    num_sentences = len(ways.texts)
    plain, single, half = ways.loop(), ways.ours(), ways.ours("bfloat16")
    error = np.abs(single - plain).max()
    assert error < FLOAT32_TOLERANCE, error
    seconds = alternate(repeats, ours=ways.ours, half=lambda: ways.ours("bfloat16"), loop=ways.loop)
    rates = {name: num_sentences / each for name, each in seconds.items()}
    what = f"states of {num_sentences:,} sentences"
    off = np.linalg.norm(half - plain) / np.linalg.norm(plain)
    floors = {name: _floor(ways, dtype) for name, dtype in (("ours", torch.float32), ("half", torch.bfloat16))}
    yield _faster(
        f"{what}, float32 (off by {error:.0e}): plain loop", rates["ours"], rates["loop"], 2.3, floors["ours"]
    )
    yield _faster(
        f"{what}, bfloat16 (relative error {off:.2%}): float32 plain loop",
        rates["half"],
        rates["loop"],
        7,
        floors["half"],
    )


def compare_with_sentence_transformers(quick: bool) -> Iterator[Row]:
    module = peer("sentence_transformers")
    ways, repeats = _ways(300 if quick else None), 2 if quick else 3
    encode = ways.sentence_transformers(module)
    assert np.abs(encode() - ways.ours()).max() < FLOAT32_TOLERANCE
    seconds = alternate(repeats, ours=ways.ours, theirs=encode)
    ours, theirs = (len(ways.texts) / seconds[name] for name in ("ours", "theirs"))
    name = f"states of {len(ways.texts):,} sentences, float32: sentence-transformers encode"
    yield _faster(name, ours, theirs, 1.6, _floor(ways, torch.float32))


def compare_memory(quick: bool) -> Row:
    """Ten times the sentences, and by how much the peak grows beyond the states themselves."""
    few, many = (300, 3000) if quick else (1000, 10_000)
    (small, before), (large, after) = (fresh(_taken, each) for each in (few, many))
    grown, own = after - before, (large - small) / 2**20
    name = f"peak memory of the states of {many:,} sentences above {few:,}: the states' own size"
    return Row.cost(name, grown, own, at_most=1.5, unit="MiB", floor=own, floor_is="the states themselves")


def _taken(num_sentences: int) -> int:
    """Take the states of the reviews, over and over until there are so many, and give their bytes."""
    ways = _ways(None)
    texts = tuple((ways.texts * (1 + num_sentences // len(ways.texts)))[:num_sentences])
    task = replace(ways.bench.task, train=Split(texts, np.zeros(num_sentences, np.int64)))
    with TemporaryDirectory() as out:
        return Bench("minilm", task, out=out).states("train").nbytes


def _ways(limit: int | None) -> Ways:
    task = load_task("movie_reviews", TaskOptions())
    texts = [*task.train.texts, *task.validation.texts][:limit]
    everything = Split(tuple(texts), np.zeros(len(texts), np.int64))
    bench = Bench("minilm", replace(task, train=everything))
    return Ways(bench, texts)


def _floor(ways: Ways, dtype: torch.dtype) -> float:
    """Give the sentences per second at which nothing but the needed products is done, at the rate of a large one."""
    weights = sum(each.numel() for each in ways.bench.network.model.base_model.encoder.parameters() if each.ndim == 2)
    mean_length = ways.bench.encoded("train").lengths.mean()
    last = weights / ways.bench.network.num_layers
    operations = 2 * mean_length * (weights - last) + 2 * last
    return _rate(dtype) / operations


def _rate(dtype: torch.dtype, size: int = 2048) -> float:
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    return 2 * size**3 / alternate(5, product=lambda: left @ right)["product"]


def _faster(name: str, ours: float, theirs: float, at_least: float, possible: float) -> Row:
    floor = {"floor": possible, "floor_is": "products alone, at the rate of 2,048 × 2,048"}
    return Row(name, ours / theirs, at_least, "higher", ours, theirs, "sentences/s", **floor)


if __name__ == "__main__":
    main(__file__, [compare, compare_with_sentence_transformers, compare_memory])
