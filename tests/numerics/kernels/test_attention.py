"""The compiled attention against the textbook's in float64, sentence by sentence, whose gradients torch derives."""

from __future__ import annotations

import math

import pytest
import torch

from dimscope.numerics.kernels import attention
from dimscope.numerics.kernels.attention import Tables, attend, attend_back

# Lengths of sentences, rows after them, heads, dims: less than a vector, whole vectors, several of them and a rest,
# several groups of queries, and sentences of many lengths together.
SIZES = [
    ((5, 3, 1), 0, 2, 4),
    ((16, 16), 1, 2, 32),
    ((37, 16, 2, 20), 5, 3, 20),
    ((150, 64, 65), 0, 2, 48),
    ((1,), 0, 1, 1),
]


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def given(lengths, filling, heads, dims, seed=0):
    """Give queries, keys and values, where sentences begin, factors, and a gradient."""
    starts = torch.tensor([0, *lengths]).cumsum(0)
    joint = drawn(sum(lengths) + filling, 3, heads, dims, seed=seed)
    noise = 2.0 * (drawn(Tables(starts, heads).num_numbers, seed=seed + 3) > 0)
    return joint, starts, noise, drawn(len(joint), heads, dims, seed=seed + 4)


def table(numbers, starts, heads, sentence):
    """Give a sentence's table [heads, tokens, tokens], and what its rows have beyond."""
    begin, end = Tables(starts, heads).begins[sentence : sentence + 2].tolist()
    tokens = int(starts[sentence + 1] - starts[sentence])
    whole = numbers[begin:end].view(heads, tokens, -1)
    return whole[..., :tokens], whole[..., tokens:]


def textbook(joint, starts, noise):
    """softmax(Q Kᵀ / √dims) · noise V of every sentence, and the probabilities before the noise."""
    out, probabilities = [], []
    for sentence in range(len(starts) - 1):
        query, key, value = joint[starts[sentence] : starts[sentence + 1]].unbind(1)
        scores = torch.einsum("qhd,khd->hqk", query, key) / math.sqrt(joint.shape[-1])
        probabilities.append(torch.softmax(scores, -1))
        factors = 1 if noise is None else table(noise, starts, joint.shape[2], sentence)[0]
        out.append(torch.einsum("hqk,khd->qhd", probabilities[-1] * factors, value))
    return torch.cat([*out, joint.new_zeros(len(joint) - starts[-1], *joint.shape[2:])]), probabilities


def exact(joint, starts, noise, gradient):
    """Give what is attended to, the gradient of joint, and the probabilities, all in float64."""
    leaf = joint.double().requires_grad_()
    out, probabilities = textbook(leaf, starts, noise)
    out.backward(gradient.double())
    return out.detach(), leaf.grad, probabilities


def ours(joint, starts, noise, gradient, num_threads=1):
    tables = Tables(starts, joint.shape[2])
    out, probabilities = attend(joint, tables, noise, num_threads)
    return out, attend_back(gradient, joint, tables, noise, probabilities, num_threads), probabilities


def distance(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("drops", [False, True])
def test_it_and_its_gradients_are_the_textbooks(sizes, drops):
    joint, starts, noise, gradient = given(*sizes)
    case = joint, starts, noise if drops else None, gradient
    (*found, numbers), (*expected, probabilities) = ours(*case), exact(*case)
    for one, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), wanted, rtol=1e-5, atol=2e-6)
    for sentence, wanted in enumerate(probabilities):
        within, beyond = table(numbers, starts, sizes[2], sentence)
        torch.testing.assert_close(within.double(), wanted, rtol=1e-5, atol=1e-6)
        assert not beyond.any()


@pytest.mark.parametrize("dims", [20, 32])
def test_in_bfloat16_only_what_is_written_is_rounded(dims):
    joint, starts, noise, gradient = given((37, 5), 1, 3, dims)
    joint, gradient = joint.bfloat16(), gradient.bfloat16()
    found, expected = ours(joint, starts, noise, gradient), exact(joint.float(), starts, noise, gradient.float())
    for name, one, wanted in zip(("out", "gradient"), found[:2], expected[:2], strict=True):
        assert one.dtype == torch.bfloat16
        assert distance(one, wanted) < 2**-8, name
    for sentence, wanted in enumerate(expected[2]):
        within, _ = table(found[2], starts, 3, sentence)
        torch.testing.assert_close(within.double(), wanted, rtol=1e-5, atol=1e-6)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    monkeypatch.setattr(attention, "LONG", 1)
    case = given((37, 4, 20, 20, 1), 2, 3, 20)
    for one, other in zip(ours(*case), ours(*case, num_threads=2), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dims", [12, 16])
def test_a_sentence_is_the_same_alone_and_among_others(dims):
    joint, starts, _, gradient = given((3, 40, 17), 4, 2, dims)
    together = ours(joint, starts, None, gradient)
    for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        alone = ours(joint[first:last], torch.tensor([0, last - first]), None, gradient[first:last])
        for one, other in zip(together[:2], alone[:2], strict=True):
            assert torch.equal(one[first:last], other)


def test_probabilities_are_kept_only_where_told():
    joint, starts, noise, _ = given((37, 8), 0, 3, 20)
    tables = Tables(starts, 3)
    out, probabilities = attend(joint, tables, noise, 1, keeps_probabilities=False)
    assert probabilities is None
    assert torch.equal(out, attend(joint, tables, noise, 1)[0])


def test_scores_of_any_size_have_probabilities():
    joint = torch.zeros(3, 3, 1, 4)
    joint[:, 0, 0, 0], joint[:, 1, 0, 0] = 1, torch.tensor([1e4, -1e4, 1e4])
    starts = torch.tensor([0, 3])
    _, probabilities = attend(joint, Tables(starts, 1), None, 1)
    assert table(probabilities, starts, 1, 0)[0].tolist() == [[[0.5, 0, 0.5]] * 3]


@pytest.mark.parametrize("dims", [8, 16])
def test_nan_is_not_lost_and_stays_in_its_sentence(dims):
    joint, starts, noise, gradient = given((20, 33, 18), 3, 2, dims)
    clean = ours(joint, starts, noise, gradient)
    broken = joint.clone()
    broken[27, 1] = math.nan
    broken[71:] = math.nan
    found = ours(broken, starts, noise, gradient)
    assert found[0][20:53].isnan().all()
    others = [*range(20), *range(53, 74)]
    for one, other in zip(found[:2], clean[:2], strict=True):
        assert torch.equal(one[others], other[others])
