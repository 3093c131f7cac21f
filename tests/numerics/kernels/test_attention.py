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


def given(lengths, filling, heads, dims, parts=3, seed=0):
    """Give queries (none where they are a part), all parts, where sentences begin, factors, and a gradient."""
    starts = torch.tensor([0, *lengths]).cumsum(0)
    joint = drawn(sum(lengths) + filling, parts, heads, dims, seed=seed)
    query = drawn(len(lengths), heads, dims, seed=seed + 1) if parts == 2 else None
    tables = Tables(starts, heads, one_each=parts == 2)
    noise = 2.0 * (drawn(tables.num_numbers, seed=seed + 3) > 0)
    return query, joint, starts, noise, drawn(len(joint) if query is None else len(lengths), heads, dims, seed=seed + 4)


def table(numbers, starts, heads, sentence, *, one_each):
    """Give a sentence's table [heads, read, tokens], and what its rows have beyond."""
    begin, end = Tables(starts, heads, one_each=one_each).begins[sentence : sentence + 2].tolist()
    tokens = int(starts[sentence + 1] - starts[sentence])
    whole = numbers[begin:end].view(heads, 1 if one_each else tokens, -1)
    return whole[..., :tokens], whole[..., tokens:]


def textbook(query, joint, starts, noise):
    """softmax(Q Kᵀ / √dims) · noise V of every sentence, and the probabilities before the noise."""
    out, probabilities = [], []
    for sentence in range(len(starts) - 1):
        *own, key, value = joint[starts[sentence] : starts[sentence + 1]].unbind(1)
        asking = own[0] if own else query[sentence : sentence + 1]
        scores = torch.einsum("qhd,khd->hqk", asking, key) / math.sqrt(joint.shape[-1])
        probabilities.append(torch.softmax(scores, -1))
        factors = 1 if noise is None else table(noise, starts, joint.shape[2], sentence, one_each=not own)[0]
        out.append(torch.einsum("hqk,khd->qhd", probabilities[-1] * factors, value))
    nothing = joint.new_zeros(0 if query is not None else len(joint) - starts[-1], *joint.shape[2:])
    return torch.cat([*out, nothing]), probabilities


def exact(query, joint, starts, noise, gradient):
    """Give what is attended to, the gradients of query and joint, and the probabilities, all in float64."""
    leaves = [each if each is None else each.double().requires_grad_() for each in (query, joint)]
    out, probabilities = textbook(*leaves, starts, noise)
    out.backward(gradient.double())
    return out.detach(), *(each if each is None else each.grad for each in leaves), probabilities


def ours(query, joint, starts, noise, gradient, num_threads=1):
    tables = Tables(starts, joint.shape[2], one_each=query is not None)
    out, probabilities = attend(query, joint, tables, noise, num_threads)
    return out, *attend_back(gradient, query, joint, tables, noise, probabilities, num_threads), probabilities


def distance(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("drops", [False, True])
def test_it_and_its_gradients_are_the_textbooks(sizes, parts, drops):
    query, joint, starts, noise, gradient = given(*sizes, parts)
    case = query, joint, starts, noise if drops else None, gradient
    (*found, numbers), (*expected, probabilities) = ours(*case), exact(*case)
    for one, wanted in zip(found, expected, strict=True):
        if wanted is not None:
            torch.testing.assert_close(one.double(), wanted, rtol=1e-5, atol=2e-6)
    for sentence, wanted in enumerate(probabilities):
        within, beyond = table(numbers, starts, sizes[2], sentence, one_each=parts == 2)
        torch.testing.assert_close(within.double(), wanted, rtol=1e-5, atol=1e-6)
        assert not beyond.any()


@pytest.mark.parametrize("parts", [2, 3])
def test_in_bfloat16_only_what_is_written_is_rounded(parts):
    query, joint, starts, noise, gradient = given((37, 5), 1, 3, 20, parts)
    halves = [each if each is None else each.bfloat16() for each in (query, joint)]
    case = *halves, starts, noise, gradient.bfloat16()
    found = ours(*case)
    expected = exact(*(each if each is None or each is starts else each.float() for each in case))
    for name, one, wanted in zip(("out", "query", "joint"), found[:3], expected[:3], strict=True):
        if wanted is not None:
            assert one.dtype == torch.bfloat16
            assert distance(one, wanted) < 2**-8, name
    for sentence, wanted in enumerate(expected[3]):
        within, _ = table(found[3], starts, 3, sentence, one_each=parts == 2)
        torch.testing.assert_close(within.double(), wanted, rtol=1e-5, atol=1e-6)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    monkeypatch.setattr(attention, "LONG", 1)
    case = given((37, 4, 20, 20, 1), 2, 3, 20)
    for one, other in zip(ours(*case), ours(*case, num_threads=2), strict=True):
        assert one is other or torch.equal(one, other)


def test_a_sentence_is_the_same_alone_and_among_others():
    _, joint, starts, _, gradient = given((3, 40, 17), 4, 2, 12)
    together = ours(None, joint, starts, None, gradient)
    for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        alone = ours(None, joint[first:last], torch.tensor([0, last - first]), None, gradient[first:last])
        for one, other in ((together[0], alone[0]), (together[2], alone[2])):
            assert torch.equal(one[first:last], other)


def test_probabilities_are_kept_only_where_told():
    query, joint, starts, noise, _ = given((37, 8), 0, 3, 20)
    tables = Tables(starts, 3, one_each=False)
    out, probabilities = attend(query, joint, tables, noise, 1, keeps_probabilities=False)
    assert probabilities is None
    assert torch.equal(out, attend(query, joint, tables, noise, 1)[0])


def test_scores_of_any_size_have_probabilities():
    joint = torch.zeros(3, 3, 1, 4)
    joint[:, 0, 0, 0], joint[:, 1, 0, 0] = 1, torch.tensor([1e4, -1e4, 1e4])
    starts = torch.tensor([0, 3])
    _, probabilities = attend(None, joint, Tables(starts, 1, one_each=False), None, 1)
    assert table(probabilities, starts, 1, 0, one_each=False)[0].tolist() == [[[0.5, 0, 0.5]] * 3]


def test_nan_is_not_lost_and_stays_in_its_sentence():
    _, joint, starts, noise, gradient = given((20, 33, 18), 3, 2, 8)
    clean = ours(None, joint, starts, noise, gradient)
    broken = joint.clone()
    broken[27, 1] = math.nan
    broken[71:] = math.nan
    found = ours(None, broken, starts, noise, gradient)
    assert found[0][20:53].isnan().all()
    others = [*range(20), *range(53, 74)]
    for one, other in ((found[0], clean[0]), (found[2], clean[2])):
        assert torch.equal(one[others], other[others])
