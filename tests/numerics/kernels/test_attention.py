"""The compiled attention against the textbook's in float64, whose gradients torch derives."""

from __future__ import annotations

import math

import pytest
import torch

from dimscope.numerics.kernels import attention
from dimscope.numerics.kernels.attention import attend, attend_back
from dimscope.numerics.kernels.vectors import whole_vectors

# Batch, tokens, heads, dims: less than a vector, whole vectors, several of them and a rest, several groups of queries.
SIZES = [(3, 5, 2, 4), (2, 16, 2, 32), (2, 37, 3, 20), (1, 150, 2, 48), (1, 1, 1, 1)]


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def given(batch, tokens, heads, dims, parts=3, seed=0):
    """Give queries (none where they are a part), all parts, what is added to scores, factors, and a gradient."""
    joint = drawn(batch, tokens, parts, heads, dims, seed=seed)
    query = drawn(batch, 1, heads, dims, seed=seed + 1) if parts == 2 else None
    read = tokens if query is None else 1
    bias = drawn(batch, tokens, seed=seed + 2)
    bias[0, tokens // 2 + 1 :] = torch.finfo(torch.float32).min
    noise = 2.0 * (drawn(batch, heads, read, whole_vectors(tokens), seed=seed + 3) > 0)
    return query, joint, bias, noise, drawn(batch, read, heads, dims, seed=seed + 4)


def textbook(query, joint, bias, noise):
    """softmax(Q Kᵀ / √dims + bias) · noise V, and the probabilities before the noise."""
    *own, key, value = joint.unbind(2)
    scores = torch.einsum("bqhd,bkhd->bhqk", own[0] if own else query, key) / math.sqrt(joint.shape[-1])
    probabilities = torch.softmax(scores if bias is None else scores + bias[:, None, None], -1)
    used = probabilities if noise is None else probabilities * noise[..., : joint.shape[1]]
    return torch.einsum("bhqk,bkhd->bqhd", used, value), probabilities


def exact(query, joint, bias, noise, gradient):
    """Give what is attended to, the probabilities and the gradients of query and joint, all in float64."""
    leaves = [each if each is None else each.double().requires_grad_() for each in (query, joint)]
    out, probabilities = textbook(*leaves, bias, noise)
    out.backward(gradient.double())
    return out.detach(), probabilities.detach(), *(each if each is None else each.grad for each in leaves)


def ours(query, joint, bias, noise, gradient, num_threads=1):
    out, probabilities = attend(query, joint, bias, noise, num_threads)
    return out, probabilities, *attend_back(gradient, query, joint, noise, probabilities, num_threads)


def distance(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("has", [(True, True), (True, False), (False, True), (False, False)], ids=str)
def test_it_and_its_gradients_are_the_textbooks(sizes, parts, has):
    query, joint, bias, noise, gradient = given(*sizes, parts)
    case = query, joint, bias if has[0] else None, noise if has[1] else None, gradient
    (out, probabilities, *gradients), expected = ours(*case), exact(*case)
    columns = sizes[1]
    for found, wanted in zip((out, probabilities[..., :columns], *gradients), expected, strict=True):
        if wanted is not None:
            torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=2e-6)
    assert not probabilities[..., columns:].any()


@pytest.mark.parametrize("parts", [2, 3])
def test_in_bfloat16_only_what_is_written_is_rounded(parts):
    case = [each if each is None else each.bfloat16() for each in given(2, 37, 3, 20, parts)]
    case[2], case[3] = case[2].float(), case[3].float()
    found = ours(*case)
    expected = exact(*(each if each is None else each.float() for each in case))
    for name, one, wanted in zip(
        ("out", "query", "joint"), (found[0], *found[2:]), (expected[0], *expected[2:]), strict=True
    ):
        if wanted is not None:
            assert one.dtype == torch.bfloat16
            assert distance(one, wanted) < 2**-8, name
    torch.testing.assert_close(found[1][..., :37].double(), expected[1], rtol=1e-5, atol=1e-6)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    monkeypatch.setattr(attention, "LONG", 1)
    case = given(5, 37, 3, 20)
    for one, other in zip(ours(*case), ours(*case, num_threads=2), strict=True):
        assert one is other or torch.equal(one, other)


def test_probabilities_are_kept_only_where_told():
    query, joint, bias, noise, _ = given(2, 37, 3, 20)
    out, probabilities = attend(query, joint, bias, noise, 1, keeps_probabilities=False)
    assert probabilities is None
    assert torch.equal(out, attend(query, joint, bias, noise, 1)[0])


def test_scores_of_any_size_have_probabilities():
    joint = torch.zeros(1, 3, 3, 1, 4)
    joint[0, :, 0, 0, 0], joint[0, :, 1, 0, 0] = 1, torch.tensor([1e4, -1e4, 1e4])
    _, probabilities = attend(None, joint, None, None, 1)
    assert probabilities[0, 0, :, :3].tolist() == [[0.5, 0, 0.5]] * 3


def test_where_everything_is_hidden_all_tokens_count_alike():
    """As torch's: the least number is added to every score, so that none is left of them."""
    joint, hidden = drawn(1, 4, 3, 1, 4, seed=0), torch.full((1, 4), torch.finfo(torch.float32).min)
    out, probabilities = attend(None, joint, hidden, None, 1)
    assert probabilities[0, 0, :, :4].tolist() == [[0.25] * 4] * 4
    torch.testing.assert_close(out[0], joint[0, :, 2].mean(0).expand(4, 1, 4))


def test_nan_is_not_lost_and_stays_in_its_sentence():
    query, joint, bias, noise, gradient = given(3, 20, 2, 8)
    clean = ours(query, joint, bias, noise, gradient)
    broken = joint.clone()
    broken[1, 7, 1] = math.nan
    found = ours(query, broken, bias, noise, gradient)
    assert found[0][1].isnan().all()
    for one, other in zip(found, clean, strict=True):
        assert one is other or torch.equal(one[[0, 2]], other[[0, 2]])
