from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dimscope.activations.capture import states, tokens
from dimscope.activations.edits import Constant, Edit, Swap, Zero, edit
from dimscope.core.errors import UnknownName, UserError
from dimscope.models.classify import classify
from dimscope.models.families import FAMILIES
from dimscope.models.load import Network

TEXTS = ["the film is good", "so very sad", "a dull story seems so very bad not good"]
DIMS = [1, 7, 30]

Tiny = Callable[[str], Network]


def padded(network: Network, side: str = "right") -> dict[str, Tensor]:
    return dict(network.tokenizer(TEXTS, padding=True, padding_side=side, return_tensors="pt"))


@torch.inference_mode()
def logits(network: Network, edits: Sequence[Edit] = (), side: str = "right") -> Tensor:
    with edit(network, edits):
        return classify(network, padded(network, side))


def final_by(network: Network, module: nn.Module, change: Callable[[Tensor], None]) -> Tensor:
    """The logits with a module's output changed by a plain hook of PyTorch."""

    def hook(module: nn.Module, args: tuple, output: Tensor | tuple) -> Tensor | tuple:
        values = (output[0] if isinstance(output, tuple) else output).clone()
        change(values)
        return (values, *output[1:]) if isinstance(output, tuple) else values

    handle = module.register_forward_hook(hook)
    try:
        return logits(network)
    finally:
        handle.remove()


# The modules are written down by hand: nothing here asks the library where a site is.
MODULES = {
    "bert": ("bert.encoder.layer.0", "bert.encoder.layer.1"),
    "distilbert": ("distilbert.transformer.layer.0", "distilbert.transformer.layer.1"),
    "roberta": ("roberta.encoder.layer.0", "roberta.encoder.layer.1"),
    "deberta": ("deberta.encoder.layer.0", "deberta.encoder.layer.1"),
    "modernbert": ("model.layers.0", "model.final_norm"),
    "gpt2": ("transformer.h.0", "transformer.ln_f"),
    "pythia-70m": ("gpt_neox.layers.0", "gpt_neox.final_layer_norm"),
    "llama": ("model.layers.0", "model.norm"),
    "opt": ("model.decoder.layers.0", "model.decoder.final_layer_norm"),
}


@pytest.mark.parametrize("family", MODULES)
def test_edits_equal_plain_hooks(family: str, tiny_network: Tiny):
    network = tiny_network(family)
    vector = np.linspace(-1, 1, 32).astype(np.float32)
    for site, path in zip(("layers.0.out", "final"), MODULES[family], strict=True):
        module = network.model.get_submodule(path)

        def zero(values: Tensor) -> None:
            values[:, :, DIMS] = 0

        def constant(values: Tensor) -> None:
            values[:, :, DIMS] = torch.from_numpy(vector)[DIMS]

        for change, value in ((zero, Zero()), (constant, Constant(vector))):
            edited = logits(network, [Edit(site, value, DIMS)])
            assert torch.equal(edited, final_by(network, module, change))
            assert not torch.equal(edited, logits(network))


@pytest.mark.parametrize("family", FAMILIES)
def test_with_all_dims_of_the_final_state_gone_all_sentences_are_one(family: str, tiny_network: Tiny):
    network = tiny_network(family)
    before = logits(network)
    gone = logits(network, [Edit("final", Zero())])
    assert torch.equal(gone, gone[:1].expand(len(TEXTS), -1))
    assert not torch.equal(before, before[:1].expand(len(TEXTS), -1))
    assert torch.equal(logits(network), before)
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in network.model.modules())


def test_alberts_middle_layer_is_edited_and_no_other(tiny_network: Tiny):
    network = tiny_network("albert")
    batches = [(np.arange(3), padded(network))]
    with edit(network, [Edit("layers.1.out", Zero(), DIMS)]):
        taken = states(network, batches, ["layers.0.out", "layers.2.in", "layers.2.out"])
    assert (taken["layers.2.in"][:, DIMS] == 0).all()
    assert (taken["layers.0.out"][:, DIMS] != 0).all()
    assert (taken["layers.2.out"][:, DIMS] != 0).all()


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_swap_gives_the_other_sentences_tokens(side: str, tiny_network: Tiny):
    network, order = tiny_network("gpt2"), np.array([2, 0, 1])
    batches = [(np.arange(3), padded(network, side))]
    ((before, mask),) = tokens(network, batches, ["layers.0.out"])
    with edit(network, [Edit("layers.0.out", Swap(order), DIMS)]):
        ((after, _),) = tokens(network, batches, ["layers.1.in"])
    real = [before["layers.0.out"][row][mask[row] == 1] for row in range(3)]
    for row, donor in enumerate(order):
        expected = real[row].copy()
        for token in range(len(expected)):
            expected[token, DIMS] = real[donor][min(token, len(real[donor]) - 1), DIMS]
        assert np.array_equal(after["layers.1.in"][row][mask[row] == 1], expected)


@pytest.mark.parametrize(("family", "side"), [("bert", "right"), ("gpt2", "right"), ("gpt2", "left")])
def test_the_pooled_token_alone_can_be_edited(family: str, side: str, tiny_network: Tiny):
    network = tiny_network(family)
    batches = [(np.arange(3), padded(network, side))]
    ((before, mask),) = tokens(network, batches, ["layers.0.out"])
    with edit(network, [Edit("layers.0.out", Zero(), DIMS, tokens="pooled")]):
        ((after, _),) = tokens(network, batches, ["layers.1.in"])
    expected = before["layers.0.out"].copy()
    for row in range(3):
        expected[row, np.flatnonzero(mask[row])[-1 if network.is_decoder else 0], DIMS] = 0
    assert np.array_equal(after["layers.1.in"], expected)


@pytest.mark.parametrize("family", ["distilbert", "llama"])
def test_at_the_final_state_the_pooled_token_is_all_that_counts(family: str, tiny_network: Tiny):
    pooled, everywhere = (
        logits(tiny_network(family), [Edit("final", Zero(), DIMS, tokens=which)]) for which in ("pooled", "all")
    )
    assert torch.equal(pooled, everywhere)


def test_inner_edits_come_after_outer_ones(tiny_network: Tiny):
    network, ones = tiny_network("gpt2"), np.ones(32, np.float32)
    outer, inner = Edit("final", Zero(), DIMS), Edit("final", Constant(ones), DIMS[:1])
    with torch.inference_mode(), edit(network, [outer]):
        before = classify(network, padded(network))
        with edit(network, [inner]):
            both = classify(network, padded(network))
        assert torch.equal(classify(network, padded(network)), before)
    assert torch.equal(both, logits(network, [outer, inner]))
    assert not torch.equal(both, logits(network, [inner, outer]))
    assert torch.equal(logits(network, [inner, outer]), before)


def test_an_exception_in_the_block_undoes_all(tiny_network: Tiny):
    network = tiny_network("bert")
    before = logits(network)
    with pytest.raises(ZeroDivisionError), edit(network, [Edit("embed", Zero()), Edit("final", Zero())]):
        _ = 1 / 0
    assert torch.equal(logits(network), before)


def test_edits_let_gradients_through(tiny_network: Tiny):
    network = tiny_network("bert")
    with edit(network, [Edit("layers.0.out", Zero(), DIMS)]):
        classify(network, padded(network)).sum().backward()
    block = network.model.bert.encoder.layer[0].output.LayerNorm
    assert (block.bias.grad[DIMS] == 0).all()
    assert block.bias.grad.abs().sum() > 0
    network.model.zero_grad(set_to_none=True)


def test_a_wrong_dim_or_site_is_told(tiny_network: Tiny):
    network = tiny_network("gpt2")
    with pytest.raises(UserError, match="dim 32: the dims at this site are 0 to 31"):
        logits(network, [Edit("final", Zero(), [32])])
    with pytest.raises(UnknownName, match="unknown site"):
        logits(network, [Edit("first", Zero())])
