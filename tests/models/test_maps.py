"""The cheap forms of trained maps against torch's plain ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu, linear
from transformers.activations import ACT2FN

from dimscope.models import maps
from dimscope.models.maps import TrainedMaps, is_gelu, joint_linear
from dimscope.numerics.kernels.pairs import adds_pairs

IN_PAIRS = pytest.mark.skipif(not adds_pairs(), reason="this processor does not add products of pairs")


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def test_joint_linear_and_its_gradients_are_those_of_separate_maps(gradients):
    values, weights, biases = drawn(7, 4), [drawn(3, 4, seed=1), drawn(2, 4, seed=2)], [drawn(3), drawn(2)]
    ours = gradients(lambda x, a, b, c, d: joint_linear(x, (a, b), (c, d)), values, *weights, *biases)
    plain = gradients(lambda x, a, b, c, d: torch.cat([linear(x, a, c), linear(x, b, d)], 1), values, *weights, *biases)
    torch.testing.assert_close(ours, plain)


def test_joint_linear_takes_its_product_in_the_precision_of_the_values_and_gives_gradients_in_the_weights(gradients):
    values, weight, bias = drawn(7, 4), drawn(3, 4, seed=1), drawn(3)
    ours, found = gradients(lambda x, w, b: joint_linear(x.bfloat16(), (w,), (b,)), values, weight, bias)
    plain, wanted = gradients(lambda x, w, b: linear(x.bfloat16(), w.bfloat16(), b.bfloat16()), values, weight, bias)
    assert ours.dtype == torch.bfloat16
    assert {each.dtype for each in found} == {torch.float32}
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(found, wanted)


@pytest.fixture(params=[pytest.param(True, marks=IN_PAIRS), False], ids=["in pairs", "as everywhere"])
def adding_pairs(request, monkeypatch):
    monkeypatch.setattr(maps, "adds_pairs", lambda: request.param)


@pytest.mark.parametrize("outputs", [(64, 70), (128,)])
def test_products_in_bfloat16_and_their_gradients_are_those_of_rounded_numbers(gradients, adding_pairs, outputs):
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


def wide_and_narrow() -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(4)
    return nn.Linear(66, 130), nn.Linear(130, 66)


def plainly(values, wide_weight, wide_bias, narrow_weight, narrow_bias):
    return linear(gelu(linear(values, wide_weight, wide_bias)), narrow_weight, narrow_bias)


def by_maps(values, *parameters):
    wide, narrow = wide_and_narrow()
    for linear_map, (weight, bias) in ((wide, parameters[:2]), (narrow, parameters[2:])):
        # Leaves, not the modules' own parameters: their gradients are what is looked at.
        del linear_map.weight, linear_map.bias
        linear_map.weight, linear_map.bias = weight, bias
    return TrainedMaps().feed_forward(values, wide, ACT2FN["gelu"], narrow)


def test_two_maps_with_gelu_between_and_their_gradients_are_torchs_own_in_float32(gradients):
    given = [drawn(7, 66), *(each for part in wide_and_narrow() for each in (part.weight, part.bias))]
    torch.testing.assert_close(gradients(by_maps, *given), gradients(plainly, *given))


def test_two_maps_with_gelu_between_and_their_gradients_are_those_of_rounded_numbers(gradients, adding_pairs):
    given = [drawn(259, 66), *(2 * each for part in wide_and_narrow() for each in (part.weight, part.bias))]
    (out, found), (expected, wanted) = (
        gradients(lambda x, *p: by_maps(x.bfloat16(), *p), *given),
        gradients(plainly, *given),
    )
    assert out.dtype == torch.bfloat16
    for one, other in zip([out, *found], [expected, *wanted], strict=True):
        assert (one - other).norm() < 8e-3 * other.norm()


def test_frozen_maps_with_gelu_between_pass_gradients_on(adding_pairs):
    wide, narrow = wide_and_narrow()
    for parameter in (*wide.parameters(), narrow.bias):
        parameter.requires_grad_(False)
    values = drawn(20, 66).bfloat16().requires_grad_()
    TrainedMaps().feed_forward(values, wide, ACT2FN["gelu"], narrow).sum().backward()
    assert values.grad is not None
    assert narrow.weight.grad is not None
    assert wide.weight.grad is wide.bias.grad is narrow.bias.grad is None


@pytest.mark.parametrize(
    ("name", "expected"), [("gelu", True), ("gelu_new", False), ("gelu_pytorch_tanh", False), ("relu", False)]
)
def test_no_approximation_counts_as_gelu(name, expected):
    assert is_gelu(ACT2FN[name]) is expected


def test_another_activation_is_asked_itself(adding_pairs):
    wide, narrow = wide_and_narrow()
    values = drawn(20, 66).bfloat16()
    found = TrainedMaps().feed_forward(values, wide, ACT2FN["relu"], narrow)
    inner = linear(values.float(), wide.weight, wide.bias).relu()
    torch.testing.assert_close(found.float(), linear(inner, narrow.weight, narrow.bias), rtol=2e-2, atol=2e-2)
