"""The cheap forms of attention and dropout against torch's plain ones."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import linear, scaled_dot_product_attention

from dimscope.models.operations import _attention_with_padding, attention, attention_of_one, drop, kept
from dimscope.models.sentences import Sentences

MASK, HEADS, DIMS = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 0, 0, 0, 0]]), 2, 4


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def parts() -> torch.Tensor:
    return drawn(int(MASK.sum()), 3, HEADS, DIMS)


def test_attention_and_its_gradients_are_those_of_torch_with_padding(gradients):
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


def test_keys_and_values_need_not_be_formed_for_one_query(gradients):
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
