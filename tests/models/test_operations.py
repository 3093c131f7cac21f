"""The cheap forms of training's operations against torch's plain ones."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import linear, scaled_dot_product_attention

from dimscope.models import operations
from dimscope.models.operations import _attention_with_padding, attention, attention_of_one, drop, joint_linear, kept
from dimscope.models.sentences import Sentences
from dimscope.numerics.kernels.pairs import adds_pairs

IN_PAIRS = pytest.mark.skipif(not adds_pairs(), reason="this processor does not add products of pairs")
MASK, HEADS, DIMS = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 0, 0, 0, 0]]), 2, 4


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def gradients(function, *inputs: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    leaves = [each.detach().clone().requires_grad_() for each in inputs]
    out = function(*leaves)
    out.backward(drawn(*out.shape, seed=9).to(out.dtype))
    return out.detach(), [leaf.grad for leaf in leaves]


def test_joint_linear_and_its_gradients_are_those_of_separate_maps():
    values, weights, biases = drawn(7, 4), [drawn(3, 4, seed=1), drawn(2, 4, seed=2)], [drawn(3), drawn(2)]
    ours = gradients(lambda x, a, b, c, d: joint_linear(x, (a, b), (c, d)), values, *weights, *biases)
    plain = gradients(lambda x, a, b, c, d: torch.cat([linear(x, a, c), linear(x, b, d)], 1), values, *weights, *biases)
    torch.testing.assert_close(ours, plain)


def test_joint_linear_takes_its_product_in_the_precision_of_the_values_and_gives_gradients_in_the_weights():
    values, weight, bias = drawn(7, 4), drawn(3, 4, seed=1), drawn(3)
    ours, found = gradients(lambda x, w, b: joint_linear(x.bfloat16(), (w,), (b,)), values, weight, bias)
    plain, wanted = gradients(lambda x, w, b: linear(x.bfloat16(), w.bfloat16(), b.bfloat16()), values, weight, bias)
    assert ours.dtype == torch.bfloat16
    assert {each.dtype for each in found} == {torch.float32}
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(found, wanted)


@pytest.fixture(params=[pytest.param(True, marks=IN_PAIRS), False], ids=["in pairs", "as everywhere"])
def adding_pairs(request, monkeypatch):
    monkeypatch.setattr(operations, "adds_pairs", lambda: request.param)


@pytest.mark.parametrize("outputs", [(64, 70), (128,)])
def test_products_in_bfloat16_and_their_gradients_are_those_of_rounded_numbers(adding_pairs, outputs):
    values = drawn(259, 66).bfloat16().float()
    weights = [drawn(each, 66, seed=1).bfloat16().float() for each in outputs]
    biases = [drawn(each, seed=2).bfloat16().float() for each in outputs]
    parameters, half = [*weights, *biases], len(outputs)

    def ours(x, *given):
        return joint_linear(x.bfloat16(), given[:half], given[half:])

    def plain(x, *given):
        return torch.cat([linear(x, *each) for each in zip(given[:half], given[half:], strict=True)], 1).bfloat16()

    (out, found), (expected, wanted) = gradients(ours, values, *parameters), gradients(plain, values, *parameters)
    torch.testing.assert_close(out, expected, rtol=1e-2, atol=1e-3)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 5e-3 * other.norm()


def test_products_of_frozen_weights_pass_gradients_on(adding_pairs):
    values, weight = drawn(20, 64).bfloat16().requires_grad_(), drawn(64, 64, seed=1)
    joint_linear(values, (weight,), (drawn(64),)).sum().backward()
    expected = weight.bfloat16().float().sum(0).expand(len(values), 64)
    torch.testing.assert_close(values.grad.float(), expected, rtol=1e-2, atol=1e-2)
    assert weight.grad is None


def test_frozen_weights_get_no_gradient():
    values = drawn(7, 4).requires_grad_()
    joint_linear(values, (drawn(3, 4),), (drawn(3),)).sum().backward()
    torch.testing.assert_close(values.grad, drawn(3, 4).sum(0).expand(7, 4))


def parts() -> torch.Tensor:
    return drawn(int(MASK.sum()), 3, HEADS, DIMS)


def test_attention_and_its_gradients_are_those_of_torch_with_padding():
    ways = [partial(way, sentences=Sentences(MASK), dropped=0.0) for way in (attention, _attention_with_padding)]
    torch.testing.assert_close(gradients(ways[0], parts()), gradients(ways[1], parts()))


def test_torchs_attention_with_padding_is_the_textbooks():
    joint = parts()
    found = _attention_with_padding(joint, Sentences(MASK), 0.0)
    for sentence in (slice(0, 5), slice(5, 8), slice(8, 9)):
        query, key, value = joint[sentence].transpose(0, 2).unbind(1)
        torch.testing.assert_close(found[sentence].transpose(0, 1), scaled_dot_product_attention(query, key, value))


def of_one(query, values, *parameters, dropped=0.0):
    """Attend with one query each by keys' and values' weights and biases."""
    maps = [SimpleNamespace(weight=weight, bias=bias) for weight, bias in batched(parameters, 2)]
    return attention_of_one(query, values, *maps, Sentences(MASK), dropped)


def of_formed(query, values, *parameters):
    """The same by keys and values that are formed, of every sentence on its own."""
    key, value = (linear(values, *each).unflatten(1, (HEADS, DIMS)) for each in batched(parameters, 2))
    found = [
        scaled_dot_product_attention(asking.unsqueeze(1), key[rows].transpose(0, 1), value[rows].transpose(0, 1))
        for asking, rows in zip(query, (slice(0, 5), slice(5, 8), slice(8, 9)), strict=True)
    ]
    return torch.stack(found).squeeze(2)


def batched(parameters, size):
    return [parameters[i : i + size] for i in range(0, len(parameters), size)]


def one_each() -> list[torch.Tensor]:
    """Queries, rows, and both maps' weights and biases."""
    width = HEADS * DIMS
    maps = [drawn(width, 6, seed=5), drawn(width, seed=6), drawn(width, 6, seed=7), drawn(width, seed=8)]
    return [drawn(len(MASK), HEADS, DIMS, seed=3), drawn(int(MASK.sum()), 6, seed=4), *maps]


def test_keys_and_values_need_not_be_formed_for_one_query():
    (ours, found), (expected, wanted) = gradients(of_one, *one_each()), gradients(of_formed, *one_each())
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    # A bias of keys moves all scores of a query alike.
    assert found[3].abs().max() < 1e-5


def test_one_query_is_answered_in_its_own_precision():
    query, values, *maps = one_each()
    found = of_one(query.bfloat16(), values.bfloat16(), *maps)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), of_formed(query, values, *maps), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("only_one", [False, True])
def test_attention_drops_so_many_and_keeps_the_mean(only_one):
    def given(dropped):
        return of_one(*one_each(), dropped=dropped) if only_one else attention(parts(), Sentences(MASK), dropped)

    exact = given(0.0)
    torch.manual_seed(5)
    draws = torch.stack([given(0.5) for _ in range(4000)])
    deviation = (draws.mean(0) - exact) / (draws.std(0) / 4000**0.5)
    assert deviation.abs().max() < 4.5
    # The only token of the last sentence is seen whole or not at all.
    assert set(draws[:, -1].div(exact[-1]).round(decimals=3).unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_so_many_are_dropped_and_the_mean_is_kept(fraction):
    torch.manual_seed(1)
    noise = kept((1000, 1001), fraction, torch.float32)
    num_dropped = int((noise == 0).sum())
    # Five standard deviations of the count.
    assert abs(num_dropped - fraction * noise.numel()) < 5 * (noise.numel() * fraction * (1 - fraction)) ** 0.5 + 20
    assert noise.max().item() == pytest.approx(1 / (1 - fraction), rel=1e-4)
    assert len(noise.unique()) == 2


def test_neighboring_numbers_of_one_draw_are_independent():
    torch.manual_seed(2)
    is_kept = kept((250_000, 4), 0.5, torch.float32) > 0
    correlations = torch.corrcoef(is_kept.T.float()) - torch.eye(4)
    assert correlations.abs().max() < 5 / 250_000**0.5


def test_the_same_seed_drops_the_same():
    values = torch.ones(50)
    torch.manual_seed(3)
    first, second = drop(values, 0.5), drop(values, 0.5)
    torch.manual_seed(3)
    assert torch.equal(drop(values, 0.5), first)
    assert not torch.equal(first, second)
    assert drop(values, 0.0) is values
