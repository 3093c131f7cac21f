"""Head-by-head activation patching and path patching to the logits: against TransformerLens, nnsight and a bare hook.

SmolLM2, pairs of indirect-object prompts, the difference of two logits as the score. All ways patch each head at all
tokens and give equal scores; the peers run a whole pass for each head, so theirs is timed on some of the heads, spread
over all layers, and told for one head. Loading, and the passes that give the other prompts' values, are not timed for
anybody.

python benchmarks/patching.py [--quick] [--json]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import torch
from frame.versus import MissingPeer, Row, main, peer

from dimscope.activations.continuation import Continuation, both
from dimscope.activations.patching import Patch, Reading, patched, paths_to_logits
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.models.catalogue import find
from dimscope.models.folders import folder
from dimscope.models.load import load_language_model
from dimscope.scoring.metrics import bound

MODEL, PROMPTS, SEED = "smollm2", "indirect_objects", 1
TOLERANCE = 1e-4

Way = Callable[[int, int], torch.Tensor]
"""Patches one head of one layer and gives the score."""
Scores = torch.Tensor
"""One for each head."""


class Study:
    """The prompts, and what all ways are given beforehand."""

    def __init__(self, num_pairs: int) -> None:
        self.network = load_language_model(MODEL)
        self.pairs = make_prompts(PROMPTS, self.network.tokenizer, num_pairs, SEED)
        self.reading = Reading(*bound("logit_difference", self.pairs.answers, self.pairs.others))
        self.ids, self.counterfactual_ids = (
            torch.from_numpy(each) for each in (self.pairs.ids, self.pairs.counterfactual_ids)
        )
        self.ends = torch.from_numpy(self.pairs.places["end"])
        self.heads = [
            (layer, head) for layer in range(self.network.num_layers) for head in range(self.network.num_heads)
        ]

    @cached_property
    def runs(self) -> tuple[Continuation, Continuation]:
        """Prompts and counterfactuals, run once."""
        return both(self.network, self.pairs, ["attn.heads"])

    def score(self, logits: torch.Tensor) -> torch.Tensor:
        """Give the mean logit difference of logits [pairs, tokens, vocabulary]."""
        rows = torch.arange(len(logits))
        read = logits[rows, self.ends]
        answers, others = (torch.from_numpy(each) for each in (self.pairs.answers, self.pairs.others))
        return (read[rows, answers] - read[rows, others]).mean()

    def ours(self) -> Scores:
        """Patch all heads."""
        base, other = self.runs
        patches = [Patch(f"layers.{layer}.attn.heads", head) for layer, head in self.heads]
        return patched(base, other, patches, self.reading).mean(1)

    def paths(self) -> Scores:
        """Follow the paths of all heads to the logits."""
        return paths_to_logits(*self.runs, self.heads, self.reading).mean(1)

    def head_dims(self, head: int) -> slice:
        """Give where a head's values stand."""
        size = self.network.head_dim
        return slice(head * size, (head + 1) * size)

    @torch.inference_mode()
    def by_bare_hooks(self) -> Way:
        """Give the way without any library: a hook on each output projection."""
        places = [block.self_attn.o_proj for block in self.network.model.model.layers]
        theirs: dict[int, torch.Tensor] = {}
        handles = [
            place.register_forward_pre_hook(lambda _, args, layer=layer: theirs.__setitem__(layer, args[0]))
            for layer, place in enumerate(places)
        ]
        self.network.model(input_ids=self.counterfactual_ids)
        for handle in handles:
            handle.remove()

        @torch.inference_mode()
        def patch(layer: int, head: int) -> torch.Tensor:
            def replace(_: Any, args: tuple) -> tuple:
                values, dims = args[0].clone(), self.head_dims(head)
                values[..., dims] = theirs[layer][..., dims]
                return (values,)

            handle = places[layer].register_forward_pre_hook(replace)
            logits = self.network.model(input_ids=self.ids).logits
            handle.remove()
            return self.score(logits)

        return patch

    @torch.inference_mode()
    def by_transformer_lens(self) -> Way:
        """Give TransformerLens' way; it changes the model that it is given."""
        module = peer("transformer_lens.model_bridge")
        bridge = module.TransformerBridge.boot_transformers(
            str(folder(find(MODEL))), hf_model=load_language_model(MODEL).model, tokenizer=self.network.tokenizer
        )
        names = [f"blocks.{layer}.attn.hook_z" for layer in range(self.network.num_layers)]
        _, theirs = bridge.run_with_cache(self.counterfactual_ids, names_filter=lambda name: name in names)

        @torch.inference_mode()
        def patch(layer: int, head: int) -> torch.Tensor:
            def replace(values: torch.Tensor, hook: Any) -> torch.Tensor:
                new, given = values.clone(), theirs[names[layer]]
                if values.ndim == 4:
                    new[:, :, head] = given[:, :, head]
                else:
                    new[..., self.head_dims(head)] = given[..., self.head_dims(head)]
                return new

            return self.score(bridge.run_with_hooks(self.ids, fwd_hooks=[(names[layer], replace)]))

        return patch

    def by_nnsight(self) -> Way:
        """Give nnsight's way."""
        module = peer("nnsight")
        model = module.NNsight(load_language_model(MODEL).model)
        theirs: dict[int, torch.Tensor] = {}
        for layer in range(self.network.num_layers):
            with torch.inference_mode(), model.trace(self.counterfactual_ids):
                values = model.model.layers[layer].self_attn.o_proj.input.save()
            theirs[layer] = values

        def patch(layer: int, head: int) -> torch.Tensor:
            dims = self.head_dims(head)
            with torch.inference_mode(), model.trace(self.ids):
                values = model.model.layers[layer].self_attn.o_proj.input.clone()
                values[..., dims] = theirs[layer][..., dims]
                model.model.layers[layer].self_attn.o_proj.input = values
                logits = model.lm_head.output.save()
            return self.score(logits)

        return patch


def compare(quick: bool) -> Iterator[Row]:
    study = Study(4 if quick else 32)
    ways = {
        "TransformerLens": study.by_transformer_lens,
        "nnsight": study.by_nnsight,
        "a bare hook": study.by_bare_hooks,
    }
    patches = {name: patch for name, way in ways.items() if (patch := _installed(way))}
    chosen = [(layer, layer % study.network.num_heads) for layer in range(0, study.network.num_layers, 10)]
    found, seconds = _timed(study.ours)
    # The first to warm up; then by turns.
    theirs: dict[str, list[float]] = {name: [] for name in patches}
    for layer, head in [chosen[0], *chosen]:
        for name, patch in patches.items():
            score, took = _timed(partial(patch, layer, head))
            theirs[name].append(took)
            difference = abs(float(found[study.heads.index((layer, head))] - score))
            assert difference < TOLERANCE, (name, layer, head, difference)
    ours = statistics.median([seconds, _timed(study.ours)[1]]) / len(study.heads)
    paths = _timed(study.paths)[1] / len(study.heads)
    what = f"{len(study.pairs)} pairs, one head of {len(study.heads)}"
    for name, each in theirs.items():
        peer_seconds = statistics.median(each[1:])
        yield Row.speedup(f"activation patching, {what}: {name}", ours, peer_seconds, at_least=5)
        # A path to the logits takes the peer at least the pass that a patch takes.
        yield Row.speedup(f"path patching to the logits, {what}: {name}", paths, peer_seconds, at_least=5)


def _installed(way: Callable[[], Way]) -> Way | None:
    try:
        return way()
    except MissingPeer as missing:
        print(f"left out: {missing}")
        return None


def _timed(work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


if __name__ == "__main__":
    main(__file__, [compare])
