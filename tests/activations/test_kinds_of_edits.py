"""Every kind of edit, on dims, heads and tokens, against plain hooks of PyTorch written out by hand; bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Barrier, Thread

import numpy as np
import pytest
import torch
from torch import Tensor

from dimscope.activations.capture import tokens
from dimscope.activations.edits import Add, Constant, Edit, Replace, Rotate, Rows, Scale, Zero, edit
from dimscope.core.errors import UserError
from dimscope.models.classify import classify
from dimscope.models.families import FAMILIES
from dimscope.models.load import Network

TEXTS = ["the film is good", "so very sad", "a dull story seems so very bad not good"]
Tiny = Callable[[str], Network]


def padded(network: Network, side: str = "right") -> dict[str, Tensor]:
    return dict(network.tokenizer(TEXTS, padding=True, padding_side=side, return_tensors="pt"))


@torch.inference_mode()
def logits(network: Network, edits: Sequence[Edit] = (), side: str = "right") -> Tensor:
    with edit(network, edits):
        return classify(network, padded(network, side))


def head_dims(network: Network, head: int) -> slice:
    return slice(head * network.head_dim, (head + 1) * network.head_dim)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("part", ["q", "k", "v", "heads"])
def test_a_head_is_edited_and_no_other(part: str, family: str, tiny_network: Tiny, raw):
    network = tiny_network(family)
    head = 1  # of keys and values there are two at least

    def zero(values: Tensor) -> Tensor:
        new = values.clone()
        new[..., head_dims(network, head)] = 0
        return new

    site = f"layers.1.attn.{part}"
    with raw(network.model, family, site, zero):
        expected = logits(network)
    before = logits(network)
    assert torch.equal(logits(network, [Edit(site, Zero(), heads=[head])]), expected)
    assert not torch.equal(before, expected)
    assert torch.equal(logits(network), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_at_some_tokens(family: str, tiny_network: Tiny, raw):
    network = tiny_network(family)
    size, rng = network.hidden_size, np.random.default_rng(0)
    vector = rng.normal(size=size).astype(np.float32)
    given = rng.normal(size=(3, 2, size)).astype(np.float32)
    at = np.array([[0, 2], [1, 2], [4, 3]])
    basis = np.linalg.qr(rng.normal(size=(size, 2)))[0].T.astype(np.float32)
    turn = np.array([[0, -1], [1, 0]], np.float32)
    kinds = {
        Constant(vector): lambda old, row, nth: torch.from_numpy(vector),
        Replace(given): lambda old, row, nth: torch.from_numpy(given[row, nth]),
        Add(vector): lambda old, row, nth: old + torch.from_numpy(vector),
        Scale(0.5): lambda old, row, nth: old * 0.5,
        Zero(): lambda old, row, nth: old * 0,
        Rotate(basis, turn): lambda old, row, nth: (
            old + torch.from_numpy(basis).T @ (torch.from_numpy(turn - np.eye(2, dtype=np.float32)) @ (torch.from_numpy(basis) @ old))
        ),
    }  # fmt: skip
    for value, change in kinds.items():
        for dims in (None, [3, 5]) if not isinstance(value, Rotate) else (None,):

            def by_hand(values: Tensor, change=change, dims=dims) -> Tensor:
                new = values.clone()
                for row in range(3):
                    for nth, token in enumerate(at[row]):
                        made = change(values[row, token], row, nth)
                        new[row, token, slice(None) if dims is None else dims] = made if dims is None else made[dims]
                return new

            with raw(network.model, family, "layers.0.out", by_hand):
                expected = logits(network)
            ours = logits(network, [Edit("layers.0.out", value, dims=dims, tokens=at)])
            # A rotation is two products, which may be summed up in another order.
            tolerance = 1e-5 if isinstance(value, Rotate) else 0
            torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance)
            assert not torch.equal(ours, logits(network))


@pytest.mark.parametrize("family", FAMILIES)
def test_patching_nothing_changes_nothing(family: str, tiny_network: Tiny):
    network = tiny_network(family)
    before = logits(network)
    ((taken, _),) = tokens(network, [(np.arange(3), padded(network))], ["layers.0.out", "layers.1.attn.heads"])
    nothing = [
        Edit("layers.0.out", Replace(taken["layers.0.out"])),
        Edit("layers.1.attn.heads", Replace(taken["layers.1.attn.heads"]), heads=[1, 2]),
        Edit("layers.1.out", Zero(), dims=[]),
        Edit("layers.1.attn.v", Zero(), heads=[]),
        Edit("layers.1.mlp.hidden", Scale(1.0)),
        Edit("final", Zero(), tokens=np.empty((3, 0), np.int64)),
    ]
    assert torch.equal(logits(network, nothing), before)
    assert torch.equal(logits(network, []), before)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("side", ["right", "left"])
def test_tokens_are_the_sentences_own_wherever_the_padding_stands(side: str, family: str, tiny_network: Tiny):
    """The oracle is every sentence alone: no batch, no padding."""
    network, rng = tiny_network(family), np.random.default_rng(0)
    given = rng.normal(size=(3, 40, network.hidden_size)).astype(np.float32)
    some = np.array([[1, 0], [2, 1], [3, 6]])
    for tokens_, values in (("all", given), ("pooled", given[:, :1]), (some, given[:, :2])):
        edits = [Edit("layers.0.out", Replace(values), dims=range(9), tokens=tokens_)]
        together = logits(network, edits, side)
        for row, text in enumerate(TEXTS):
            own = tokens_[row : row + 1] if isinstance(tokens_, np.ndarray) else tokens_
            one = Edit("layers.0.out", Replace(values[row : row + 1]), dims=range(9), tokens=own)
            with edit(network, [one]), torch.inference_mode():
                alone = classify(network, dict(network.tokenizer([text], return_tensors="pt")))[0]
            torch.testing.assert_close(together[row], alone, rtol=1e-5, atol=1e-5)


def test_edits_at_one_site_come_in_the_order_given_and_inner_blocks_after(tiny_network: Tiny):
    network, ones = tiny_network("gpt2"), np.ones(32, np.float32)
    add, double = Edit("layers.0.out", Add(ones)), Edit("layers.0.out", Scale(2.0))
    add_both = [Edit("layers.0.out", Scale(2.0)), Edit("layers.0.out", Add(2 * ones))]
    assert torch.equal(logits(network, [add, double]), logits(network, add_both))
    assert not torch.equal(logits(network, [add, double]), logits(network, [double, add]))
    with edit(network, [add]):
        assert torch.equal(logits(network, [double]), logits(network, [Edit("layers.0.out", Scale(2.0))]))
        nested = logits(network, [double])
    assert torch.equal(nested, logits(network, [add, double]))
    assert torch.equal(logits(network, [double, Edit("layers.1.out", Zero()), add]), logits(network, [double, add, Edit("layers.1.out", Zero())]))  # fmt: skip


def test_a_given_shape_that_does_not_fit_is_told(tiny_network: Tiny):
    network = tiny_network("gpt2")
    wide = np.zeros((3, 2, 32), np.float32)
    some = np.array([[0, 1]] * 3)
    cases = [
        (Edit("embed", Replace(wide[:, :1]), tokens=some), r"wanted values of the shape \(3, 2, 32\)"),
        (Edit("embed", Replace(wide)), "wanted values of the shape"),
        (Edit("embed", Replace(wide), tokens=some[:2]), "a batch of 3 sentences"),
        (Edit("embed", Zero(), tokens=np.array([[0], [0], [99]])), "sentence 2 of the batch has the tokens 0 to"),
        (Edit("embed", Zero(), tokens=np.array([[0], [-1], [0]])), "sentence 1 of the batch has the tokens 0 to"),
        (Edit("embed", Add(np.zeros(31, np.float32))), "over all 32 dims of the site, came one of 31"),
        (Edit("embed", Zero(), heads=[0]), "cannot edit heads at 'embed'"),
        (Edit("layers.0.attn.v", Zero(), heads=[4]), "cannot edit head 4 at 'layers.0.attn.v': the heads there are 0"),
        (Edit("layers.0.attn.v", Zero(), dims=[0], heads=[0]), "came both"),
        (Edit("layers.0.attn.v", Rotate(np.eye(32)[:2], np.eye(2)), heads=[0]), "a rotation is one of all dims"),
        (Edit("layers.0.attn.v", Rows(np.zeros((3, 1, 1, 4)))), "rows of heads are for layers.L.attn.pattern"),
        (Edit("layers.0.attn.pattern", Zero()), "rows of heads are for layers.L.attn.pattern"),
        (Edit("layers.0.attn.pattern", Rows(np.zeros((3, 2, 1, 4)))), "wanted rows .3 sentences, 4 heads or 1"),
    ]
    for wrong, part in cases:
        with pytest.raises(UserError, match=part):
            logits(network, [wrong])
    with pytest.raises(UserError, match="orthonormal"):
        Rotate(np.ones((2, 32)), np.eye(2))
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in network.model.modules())


def test_edits_are_those_of_their_thread(tiny_network: Tiny):
    """Two threads edit one model at once, pass after pass, and a third reads it as it is."""
    network = tiny_network("llama")
    own = {
        "one": [Edit("layers.0.out", Scale(2.0)), Edit("layers.1.attn.q", Zero(), heads=[0])],
        "other": [Edit("layers.0.out", Scale(-1.0)), Edit("layers.1.attn.q", Zero(), heads=[1])],
        "none": [],
    }
    rows = np.zeros((3, 1, 1, 3), np.float32)
    rows[..., 0] = 1
    own["rows"] = [Edit("layers.0.attn.pattern", Rows(rows))]
    expected = {name: logits(network, edits) for name, edits in own.items()}
    together, wrong = Barrier(len(own)), []

    def work(name: str) -> None:
        try:
            for _ in range(20):
                together.wait()
                if not torch.equal(logits(network, own[name]), expected[name]):
                    wrong.append(name)
        except Exception as error:
            wrong.append((name, error))
            together.abort()  # or the others would wait for this one for ever

    threads = [Thread(target=work, args=(name,)) for name in own]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len({tuple(values.flatten().tolist()) for values in expected.values()}) == len(own)


def test_another_thread_may_still_meet_hooks_that_are_being_removed(tiny_network: Tiny):
    """torch then calls them without the pass's keywords: it looks for who wants them after it has begun."""
    base, met = tiny_network("llama").model.base_model, []
    with edit(tiny_network("llama"), [Edit("layers.0.out", Scale(2.0))]):
        hooks = list(base._forward_pre_hooks.values())
        thread = Thread(target=lambda: met.extend(hook(base, ()) for hook in hooks))
        thread.start()
        thread.join()
    assert met == [None]


def test_a_failure_within_a_pass_undoes_all(tiny_network: Tiny):
    network = tiny_network("llama")
    before = logits(network)
    rows = np.ones((3, 1, 1, 3), np.float32)
    wrong = [
        Edit("layers.0.attn.pattern", Rows(rows)),
        Edit("layers.1.attn.k", Scale(3.0)),
        Edit("final", Zero(), dims=[99]),
    ]
    with pytest.raises(UserError, match="cannot edit dim 99"):
        logits(network, wrong)
    assert torch.equal(logits(network), before)
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in network.model.modules())
