"""Capturing one site of 1,000 sentences: against a bare hook on the same model over the same batches.

MiniLM, the movie reviews. The hook keeps the first token's value and its pass stops there, as ours does, by an
exception; so what is compared is all that stands around the hook: finding the site, following the mask, putting the
sentences back in their order. The floor is the bare hook itself.

python benchmarks/capture.py [--quick] [--json]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from frame.versus import Row, alternate, main

from dimscope.activations import capture
from dimscope.bench import Bench
from dimscope.data.catalogue import load_task
from dimscope.data.options import TaskOptions
from dimscope.models.load import Network

SITES = {
    "layers.2.attn.out": "encoder.layer.2.attention.output.dense",
    "layers.1.mlp.out": "encoder.layer.1.output.dense",
}


class _SeenError(Exception):
    """The hook has what it wants."""


def compare(quick: bool) -> Iterator[Row]:
    bench = Bench("minilm", load_task("movie_reviews", TaskOptions()))
    num_sentences, turns = (200, 2) if quick else (1000, 5)
    batches = list(bench.batches("train", num_sentences))
    for site, module in SITES.items():
        ours = partial(capture.states, bench.network, batches, [site])
        bare = partial(by_hook, bench.network, batches, module, num_sentences)
        assert np.array_equal(ours()[site], bare()), site
        seconds = in_both_orders(turns, ours, bare)
        name = f"{site} of {num_sentences:,} sentences: a bare hook"
        floor = {"floor": seconds["bare"], "floor_is": "the bare hook"}
        yield Row.cost(name, seconds["ours"], seconds["bare"], at_most=1.05, **floor)


def in_both_orders(turns: int, ours: Callable[[], object], bare: Callable[[], object]) -> dict[str, float]:
    """Give the medians, each work as often first as second: the same hook twice differs by several percent so."""
    orders = alternate(turns, ours=ours, bare=bare), alternate(turns, bare=bare, ours=ours)
    return {name: (orders[0][name] + orders[1][name]) / 2 for name in ("ours", "bare")}


@torch.inference_mode()
def by_hook(network: Network, batches: list, module: str, num_sentences: int) -> np.ndarray:
    """Take the values as a script does."""
    out = np.empty((num_sentences, network.hidden_size), np.float32)
    seen: list[torch.Tensor] = []

    def hook(part: torch.nn.Module, args: tuple, output: torch.Tensor) -> None:
        seen.append(output)
        raise _SeenError

    handle = network.model.base_model.get_submodule(module).register_forward_hook(hook)
    for indices, batch in batches:
        try:
            network.model(**batch)
        except _SeenError:
            out[indices] = seen.pop()[:, 0].numpy()
    handle.remove()
    return out


if __name__ == "__main__":
    main(__file__, [compare])
