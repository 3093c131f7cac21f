"""Training in a random subspace: a step against one of full fine-tuning, and the optimizer's memory.

MiniLM, all 22.7 million parameters, 32 sentences of 64 words a step, by our own engine in the processor's precision;
the projection is one_hot. The floor is the same pass, forward and backward, with no optimizer at all.

python benchmarks/subspace.py [--quick] [--json]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from frame.versus import Row, alternate, main

from dimscope.bench import Bench
from dimscope.core.seeds import stream
from dimscope.data.task import Split, Task
from dimscope.models.load import Network
from dimscope.training.loop import TrainingSet, adamw, train
from dimscope.training.precision import native_precision
from dimscope.training.settings import TrainingSettings
from dimscope.training.subspace import Subspace, SubspaceSettings

Optimizer = Callable[[Network, TrainingSettings], torch.optim.Optimizer]
WORDS = ("film", "plot", "actor", "story", "scene", "seems", "feels", "very", "not", "good", "bad", "great", "dull")


def compare(quick: bool) -> Iterator[Row]:
    model, num_steps, num_words, turns = ("tiny/bert", 3, 8, 1) if quick else ("minilm", 5, 64, 3)
    bench = Bench(model, task(32 * num_steps, num_words))
    settings = TrainingSettings(learning_rate=1e-5, epochs=1, precision=native_precision(bench.device))
    data = TrainingSet(bench.encoded("train"), bench.labels("train"))

    def training(optimizer: Optimizer, network: Network) -> Callable[[], object]:
        return lambda: train(network, data, settings, seed=1, optimizer=optimizer)

    spaces = {name: Subspace(bench.load(), chosen, seed=1) for name, chosen in asked().items()}
    works = {name: training(space.optimizer, space.network) for name, space in spaces.items()}
    seconds = alternate(turns, full=training(adamw, bench.load()), none=training(idle, bench.load()), **works)
    steps = {name: each / num_steps for name, each in seconds.items()}
    floor = {"floor": steps["none"], "floor_is": "forward and backward alone"}
    for name in spaces:
        yield Row.cost(f"step, {name}: full fine-tuning", steps[name], steps["full"], at_most=1.3, **floor)
    network, space = bench.load(), spaces["d = 1,000"]
    ours, full = state(space.optimizer, space.network, settings), state(adamw, network, settings)
    yield Row.cost("AdamW's state, d = 1,000: full fine-tuning", ours, full, at_most=0.05, unit="numbers")


def asked() -> dict[str, SubspaceSettings]:
    """The subspaces by name."""
    return {
        "d = 1,000": SubspaceSettings(num_trained=1000),
        "d = 10,000": SubspaceSettings(num_trained=10_000),
        "d = 1,000, structure-aware": SubspaceSettings(num_trained=1000, structure_aware=True),
    }


def idle(network: Network, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Give an optimizer of one number that no loss depends on."""
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], settings.learning_rate)


def state(make: Optimizer, network: Network, settings: TrainingSettings) -> int:
    """Count the numbers that an optimizer keeps after a step."""
    optimizer = make(network, settings)
    for parameter in network.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return sum(each.numel() for kept in optimizer.state.values() for each in kept.values())


def task(num_sentences: int, num_words: int) -> Task:
    """Give sentences of random words and random classes."""
    rng = stream(0, "sentences")
    texts = tuple(" ".join(words) for words in rng.choice(np.array(WORDS), (num_sentences, num_words)))
    split = Split(texts, rng.integers(0, 2, num_sentences))
    return Task("random", ("no", "yes"), split, split)


if __name__ == "__main__":
    main(__file__, [compare])
