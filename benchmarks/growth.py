"""How time and memory grow with sentences, length, hidden size and dimensions, up to ten times the default.

Every point is measured in a process of its own, after the same work was done once, small: the median seconds of three
turns, and by how much the peak memory rises above what it was after the small one. The exponent is the slope of a
least-squares line through the logarithms, so 1 is linear and 2 quadratic; a rise below 1 MiB counts as 1 MiB, since it
cannot be told from what the allocator keeps. Networks are BERT's kind, two layers, random weights, heads of 32 dims.

Writes `growth.csv`, `growth.md`, `growth.svg` and `growth.png` to `results/`; with --quick, nothing but two sizes of
`one_dimension` is measured, and only the table is told.

python benchmarks/growth.py [--quick] [--json]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import altair as alt
import numpy as np
import pandas as pd
from frame.fresh import fresh, peak_mib
from frame.versus import Row, main
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from dimscope import Bench
from dimscope.core.seeds import stream
from dimscope.data.task import Split, Task
from dimscope.methods.finetune.full import FullFineTuning
from dimscope.models.quiet import quiet
from dimscope.models.tiny import write_tiny
from dimscope.numerics.moments import Moments
from dimscope.numerics.thresholds import exact_thresholds
from dimscope.report.theme import PALETTE, themed, to_png, to_svg
from dimscope.training.loop import TrainingSet, train

SCALES = (1, 2, 5, 10)
CHUNK_ROWS = 5000
HEAD_DIMS, MOST_TOKENS = 32, 512
RESULTS = Path(__file__).parent / "results"

Sizes = dict[str, int]


def one_dimension(sentences: int, dims: int) -> float:
    """Learn the exact rules of two classes."""
    states = stream(0, "states").standard_normal((sentences, dims), dtype=np.float32)
    labels = stream(0, "labels").integers(0, 2, sentences)
    return _seconds(lambda: exact_thresholds(states, labels, 2))


def moments(sentences: int, dims: int) -> float:
    """Take the moments of a stream."""
    chunk = stream(0, "states").standard_normal((CHUNK_ROWS, dims), dtype=np.float32)
    seen = Moments()
    return _seconds(lambda: [seen.update(chunk) for _ in range(sentences // CHUNK_ROWS)])


def states(sentences: int, length: int, hidden: int) -> float:
    """Take the final states of all sentences."""
    with TemporaryDirectory() as folder:
        bench = _bench(Path(folder), sentences, length, hidden)
        bench.encoded("train")
        return _seconds(lambda: bench.states("train"))


def finetune(sentences: int, length: int, hidden: int) -> float:
    """Train all parameters for an epoch of batches of 32."""
    with TemporaryDirectory() as folder:
        bench = _bench(Path(folder), sentences, length, hidden)
        settings = FullFineTuning(epochs=1).resolved(bench)
        data = TrainingSet(bench.encoded("train"), bench.labels("train"))
        network = bench.load()
        return _seconds(lambda: train(network, data, settings, bench.seed))


Work = Callable[..., float]

DEFAULTS: dict[Work, Sizes] = {
    one_dimension: {"sentences": 8000, "dims": 96},
    moments: {"sentences": 50_000, "dims": 96},
    states: {"sentences": 512, "length": 32, "hidden": 96},
    finetune: {"sentences": 128, "length": 32, "hidden": 96},
}

SMALL = {"sentences": CHUNK_ROWS, "dims": 8, "length": 8, "hidden": HEAD_DIMS}
"""What is done before anything is measured."""

EXPECTED = {"sentences": 1.0, "dims": 1.0, "length": 2.0, "hidden": 2.0}
"""The exponents that the operations have: attention is quadratic in length, the products in hidden size."""

MARGIN = 0.15
"""What caches and the noise of the machine may add to an exponent."""


def compare(quick: bool) -> Iterator[Row]:
    if quick:
        yield from rows(measured(one_dimension, SCALES[:2]))
        return
    points = pd.concat([measured(work, SCALES) for work in DEFAULTS])
    write(points)
    yield from rows(points)


def measured(work: Work, scales: tuple[int, ...]) -> pd.DataFrame:
    """Give a row for each size of each axis, what it is a multiple of in `scale`."""
    defaults = DEFAULTS[work]
    asked = {(axis, scale): {**defaults, axis: scale * defaults[axis]} for axis in defaults for scale in scales}
    costs = {tuple(sizes.values()): None for sizes in asked.values()}
    for each in costs:
        (seconds, rise), _ = fresh(_cost, work, dict(zip(defaults, each, strict=True)))
        costs[each] = {"seconds": seconds, "mib": max(rise, 1.0)}
    return pd.DataFrame(
        {"work": work.__name__, "axis": axis, "size": sizes[axis], "scale": scale, **costs[tuple(sizes.values())]}
        for (axis, scale), sizes in asked.items()
    )


def rows(points: pd.DataFrame) -> Iterator[Row]:
    """Give the fitted exponents, each with the figures at the largest and the smallest size."""
    for (work, axis), line in points.groupby(["work", "axis"], sort=False):
        for measure, unit in (("seconds", "s"), ("mib", "MiB")):
            least, most = line[measure].iloc[[0, -1]]
            at_most = EXPECTED[axis] + MARGIN
            name = f"{work}: exponent of {measure} in {axis} {line['size'].iloc[0]:,} to {line['size'].iloc[-1]:,}"
            yield Row(name, exponent(line["scale"], line[measure]), at_most, "lower", most, least, unit)


def exponent(sizes: pd.Series, figures: pd.Series) -> float:
    """Give the slope of the least-squares line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(figures), 1)[0])


def write(points: pd.DataFrame) -> None:
    """Write the points, the table of exponents and the figure."""
    RESULTS.mkdir(exist_ok=True)
    points.to_csv(RESULTS / "growth.csv", index=False, float_format="%.4g")
    (RESULTS / "growth.md").write_text(_table(points))
    chart = _figure(points)
    (RESULTS / "growth.svg").write_text(to_svg(chart))
    (RESULTS / "growth.png").write_bytes(to_png(chart))


def _table(points: pd.DataFrame) -> str:
    lines = [
        "| work | grows with | from, to | seconds | exponent | MiB above the small one | exponent |",
        "|---" * 7 + "|",
    ]
    for (work, axis), line in points.groupby(["work", "axis"], sort=False):
        ends = line.iloc[[0, -1]]
        sizes, seconds, mib = (ends[name].tolist() for name in ("size", "seconds", "mib"))
        slopes = [f"{exponent(line['scale'], line[name]):.2f}" for name in ("seconds", "mib")]
        figures = f"{seconds[0]:.3g}, {seconds[1]:.3g} | {slopes[0]} | {mib[0]:.3g}, {mib[1]:.3g} | {slopes[1]}"
        lines.append(f"| {work} | {axis} | {sizes[0]:,}, {sizes[1]:,} | {figures} |")
    return "\n".join(lines) + "\n"


def _figure(points: pd.DataFrame) -> alt.FacetChart:
    """Draw every figure over that of the default size, so that equal slopes are equal exponents."""
    named = points.rename(columns={"seconds": "time", "mib": "memory"})
    tall = named.melt(["work", "axis", "size", "scale"], ["time", "memory"], "measure", "figure")
    tall["line"] = tall["work"] + ", " + tall["measure"]
    tall["times"] = tall["figure"] / tall.groupby(["line", "axis"])["figure"].transform("first")
    ticks = alt.Axis(values=[1, 2, 5, 10, 20])
    legend = alt.Legend(title=None, symbolType="stroke")
    place = alt.Chart(tall, height=180).encode(
        x=alt.X("scale:Q", title="times the default size", scale=alt.Scale(type="log", nice=False), axis=ticks),
        y=alt.Y("times:Q", title="times the default's cost", scale=alt.Scale(type="log", nice=False), axis=ticks),
        color=alt.Color("work:N", sort=None, scale=alt.Scale(range=PALETTE), legend=legend),
        tooltip=["work:N", "measure:N", "size:Q", "figure:Q"],
    )
    dashes = alt.StrokeDash(
        "measure:N", scale=alt.Scale(domain=["time", "memory"], range=[[1, 0], [5, 4]]), legend=legend
    )
    lines = place.mark_line().encode(strokeDash=dashes, detail="line:N") + place.mark_point(filled=True)
    chart = lines.facet(row=alt.Row("axis:N", sort=list(EXPECTED), title=None))
    return themed(chart, "How cost grows", "time and memory over those at the default size, both axes logarithmic")


def _cost(work: Work, sizes: Sizes) -> tuple[float, float]:
    """Give the seconds, and by how many MiB the peak rises."""
    work(**{axis: SMALL[axis] for axis in sizes})
    before = peak_mib()
    seconds = statistics.median(work(**sizes) for _ in range(3))
    return seconds, peak_mib() - before


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _bench(folder: Path, sentences: int, length: int, hidden: int) -> Bench:
    """Give a random network of that hidden size and sentences of as many tokens, ends included."""
    write_tiny("bert", folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model", model_max_length=MOST_TOKENS)
    config = AutoConfig.from_pretrained(folder / "model")
    sizes = {"hidden_size": hidden, "intermediate_size": 4 * hidden, "num_attention_heads": hidden // HEAD_DIMS}
    config.update({**sizes, "max_position_embeddings": MOST_TOKENS, "initializer_range": 0.02})
    model = AutoModelForSequenceClassification.from_config(config).base_model
    with quiet():
        tokenizer.save_pretrained(folder / "model")
        model.save_pretrained(folder / "model")
    all_sentences = Split(("good " * (length - 2),) * sentences, np.arange(sentences) % 2)
    few = Split(all_sentences.texts[:32], all_sentences.labels[:32])
    task = Task("growth", ("bad", "good"), all_sentences, few)
    return Bench(str(folder / "model"), task, out=folder / "out", max_length=MOST_TOKENS)


if __name__ == "__main__":
    main(__file__, [compare])
