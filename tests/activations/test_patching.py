"""Patches and paths against passes with raw hooks on the models' own modules, one at a time and from the beginning."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch

from dimscope.activations.continuation import Continuation, bytes_at_once, copies_at_once
from dimscope.activations.patching import (
    Patch,
    Reading,
    Receiver,
    patched,
    paths_to_logits,
    paths_to_receivers,
)
from dimscope.core.errors import UserError
from dimscope.models.load import Network, load, load_language_model

# Where heads come together, where the MLP reads, and where queries come out, by family.
MODULES = {
    "llama": ("model.layers.{}.self_attn.o_proj", "model.layers.{}.mlp", "model.layers.{}.self_attn.q_proj"),
    "gpt2": ("transformer.h.{}.attn.c_proj", "transformer.h.{}.mlp", "transformer.h.{}.attn.c_attn"),
    "pythia-160m": (
        "gpt_neox.layers.{}.attention.dense",
        "gpt_neox.layers.{}.mlp",
        "gpt_neox.layers.{}.attention.query_key_value",
    ),
}
NUM_TOKENS, FIRST = 9, 5


@pytest.fixture(scope="module", params=list(MODULES))
def network(request) -> Network:
    return load_language_model(f"tiny/{request.param}")


@pytest.fixture(scope="module")
def prompts(network):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 200, (3, NUM_TOKENS), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    other = ids.clone()
    other[:, FIRST] = torch.randint(200, 300, (3,), generator=generator)
    return ids, other, mask


@pytest.fixture(scope="module")
def both(network, prompts):
    ids, other, mask = prompts
    sites = tuple(
        f"layers.{layer}.{part}" for layer in range(network.num_layers) for part in ("attn.heads", "mlp.out", "out")
    )
    return tuple(
        Continuation(network, {"input_ids": each, "attention_mask": mask}, FIRST, sites) for each in (ids, other)
    )


def module(network: Network, kind: int, layer: int) -> torch.nn.Module:
    family = next(name for name in MODULES if network.name == f"tiny/{name}")
    return network.model.get_submodule(MODULES[family][kind].format(layer))


class Raw:
    """Passes from the beginning, of one batch, with functions hung on the model's modules."""

    def __init__(self, network: Network, mask: torch.Tensor) -> None:
        self.network, self.mask = network, mask
        self.ends = mask.sum(1) - 1

    @torch.inference_mode()
    def logits(self, ids: torch.Tensor, inputs=None, outputs=None) -> torch.Tensor:
        with ExitStack() as stack:
            for place, change in (inputs or {}).items():
                hook = lambda _, args, change=change: (change(args[0]), *args[1:])  # noqa: E731
                stack.callback(module(self.network, *place).register_forward_pre_hook(hook).remove)
            for place, change in (outputs or {}).items():
                hook = lambda _, args, out, change=change: change(out)  # noqa: E731
                stack.callback(module(self.network, *place).register_forward_hook(hook).remove)
            logits = self.network.model(input_ids=ids, attention_mask=self.mask).logits
        return logits[torch.arange(len(ids)), self.ends]

    def seen(self, ids: torch.Tensor, kind: int, **replaced) -> dict[int, torch.Tensor]:
        """Give the inputs of all layers' modules of a kind."""
        found: dict[int, torch.Tensor] = {}
        looking = {(kind, layer): look(found, layer) for layer in range(self.network.num_layers)}
        self.logits(ids, {**replaced.get("inputs", {}), **looking}, replaced.get("outputs"))
        return found


def look(found, layer):
    def keep(values):
        found.setdefault(layer, values.clone())
        return values

    return keep


def with_head(values: torch.Tensor, theirs: torch.Tensor, head: int, size: int) -> torch.Tensor:
    new = values.clone()
    new[..., head * size : (head + 1) * size] = theirs[..., head * size : (head + 1) * size]
    return new


def senders(network: Network) -> list[tuple[int, int]]:
    return [(layer, head) for layer in range(network.num_layers) for head in range(network.num_heads)]


def test_nothing_patched_changes_nothing(network, prompts, both):
    ids, _, mask = prompts
    expected = Raw(network, mask).logits(ids)
    torch.testing.assert_close(both[0].unchanged, expected)
    for layer in range(network.num_layers):
        assert torch.equal(both[0].outputs(layer, {})[0], both[0].unchanged)
        # Products of larger matrices are summed in another order.
        torch.testing.assert_close(both[0].outputs(layer, {}, copies=2), both[0].unchanged.expand(2, -1, -1))


def test_a_patched_head_gives_what_a_raw_hook_gives(network, prompts, both):
    ids, other, mask = prompts
    raw, size = Raw(network, mask), network.head_dim
    theirs = raw.seen(other, 0)
    found = patched(*both, [Patch(f"layers.{layer}.attn.heads", head) for layer, head in senders(network)])
    for (layer, head), ours in zip(senders(network), found, strict=True):
        change = lambda values, layer=layer, head=head: with_head(values, theirs[layer], head, size)  # noqa: E731
        torch.testing.assert_close(ours, raw.logits(ids, {(0, layer): change}), atol=2e-5, rtol=1e-4)
    assert (found - both[0].unchanged).abs().amax(dim=(1, 2)).max() > 0.01


def test_a_patch_at_one_token_leaves_the_others(network, prompts, both):
    ids, other, mask = prompts
    raw = Raw(network, mask)
    theirs, tokens = raw.seen(other, 0), torch.tensor([5, 6, 8])
    last = network.num_layers - 1

    def change(values):
        new = values.clone()
        new[torch.arange(3), tokens] = theirs[last][torch.arange(3), tokens]
        return new

    found = patched(*both, [Patch(f"layers.{last}.attn.heads", tokens=tokens)])[0]
    torch.testing.assert_close(found, raw.logits(ids, {(0, last): change}), atol=2e-5, rtol=1e-4)


def test_everything_patched_gives_the_other_prompts_logits(network, both):
    base, other = both
    for layer in range(network.num_layers):
        assert torch.equal(patched(base, other, [Patch(f"layers.{layer}.out")])[0], other.outputs(0, {})[0])


def test_chosen_columns_are_those_of_all_logits(network, both):
    columns = torch.tensor([[3, 8], [1, 0], [7, 7]])
    patches = [Patch("layers.0.attn.heads", head) for head in range(network.num_heads)]
    whole = patched(*both, patches)
    torch.testing.assert_close(
        patched(*both, patches, Reading(columns)), whole.gather(2, columns.expand(len(patches), -1, -1))
    )


@pytest.mark.parametrize("through_mlps", [True, False])
def test_a_path_to_the_logits_is_a_pass_with_all_other_heads_held(network, prompts, both, through_mlps):
    ids, other, mask = prompts
    raw, size = Raw(network, mask), network.head_dim
    ours, theirs = raw.seen(ids, 0), raw.seen(other, 0)
    mlps: dict[int, torch.Tensor] = {}
    kept = {(1, layer): look(mlps, layer) for layer in range(network.num_layers)}
    raw.logits(ids, outputs=kept)
    found = paths_to_logits(*both, senders(network), through_mlps=through_mlps)
    for (layer, head), path in zip(senders(network), found, strict=True):
        held = {(0, each): lambda values, each=each: ours[each] for each in range(network.num_layers)}
        held[0, layer] = lambda values, layer=layer, head=head: with_head(ours[layer], theirs[layer], head, size)
        outputs = {} if through_mlps else {(1, each): lambda out, each=each: mlps[each] for each in mlps}
        torch.testing.assert_close(path, raw.logits(ids, held, outputs), atol=2e-5, rtol=1e-4)


def test_a_path_to_queries_is_two_passes_by_hand(network, prompts, both):
    ids, other, mask = prompts
    raw, size = Raw(network, mask), network.head_dim
    ours, theirs = raw.seen(ids, 0), raw.seen(other, 0)
    receiver = Receiver(layer=network.num_layers - 1, part="q", head=1)
    columns = queries_of(network, receiver.head)
    found = paths_to_receivers(*both, senders(network), [receiver])
    for (layer, head), path in zip(senders(network), found, strict=True):
        if layer >= receiver.layer:
            assert torch.equal(path, both[0].unchanged)
            continue
        held = {(0, each): lambda values, each=each: ours[each] for each in range(network.num_layers)}
        held[0, layer] = lambda values, layer=layer, head=head: with_head(ours[layer], theirs[layer], head, size)
        received: dict[int, torch.Tensor] = {}
        raw.logits(ids, held, {(2, receiver.layer): look(received, receiver.layer)})

        def receive(out, received=received):
            new = out.clone()
            new[..., columns] = received[receiver.layer][..., columns]
            return new

        torch.testing.assert_close(path, raw.logits(ids, outputs={(2, receiver.layer): receive}), atol=2e-5, rtol=1e-4)


def queries_of(network: Network, head: int) -> torch.Tensor:
    """Give where the head's queries stand among what their module gives; GPT-NeoX keeps each head's three together."""
    size = network.head_dim
    start = 3 * head * size if "pythia" in network.name else head * size
    return torch.arange(start, start + size)


def test_patches_of_a_classifier_that_sees_all_tokens_are_those_of_raw_hooks():
    network = load("tiny/bert", num_labels=3)
    generator = torch.Generator().manual_seed(1)
    ids, other = (torch.randint(5, 60, (2, 6), generator=generator) for _ in range(2))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    site = "layers.1.mlp.out"
    base, donor = (
        Continuation(network, {"input_ids": each, "attention_mask": mask}, 3, (site,)) for each in (ids, other)
    )
    place = network.model.bert.encoder.layer[1].output.dense
    found: dict[int, torch.Tensor] = {}
    with torch.inference_mode():
        handle = place.register_forward_hook(lambda _, args, out: look(found, 0)(out))
        network.model(input_ids=other, attention_mask=mask)
        handle.remove()
        handle = place.register_forward_hook(lambda *_: found[0])
        expected = network.model(input_ids=ids, attention_mask=mask).logits
        handle.remove()
    torch.testing.assert_close(patched(base, donor, [Patch(site)])[0], expected)


def test_the_model_is_as_before(network, both):
    modules = list(network.model.modules())
    patched(*both, [Patch("layers.0.out")])
    assert [a is b for a, b in zip(modules, network.model.modules(), strict=True)] == [True] * len(modules)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in modules)


def test_memory_is_bounded_whatever_the_number_of_patches(both):
    base, _ = both
    assert copies_at_once(base) * base.num_sentences * base.num_tokens <= 4096
    assert bytes_at_once(base) < 10 * 2**20


def test_padding_on_the_left_and_sites_outside_blocks_are_refused(network, both):
    ids = torch.full((1, 4), 7)
    mask = torch.tensor([[0, 1, 1, 1]])
    with pytest.raises(UserError, match="padded on the right"):
        Continuation(network, {"input_ids": ids, "attention_mask": mask})
    with pytest.raises(UserError, match="within a block"):
        patched(*both, [Patch("final")])
