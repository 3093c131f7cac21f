import numpy as np
import pytest
import torch
from scipy.linalg import hadamard

from dimscope.core.errors import UserError
from dimscope.numerics.hadamard import level_by_level, walsh_hadamard
from dimscope.numerics.kernels import butterflies, threads


def one_level_at_a_time(x):
    """The plain algorithm in numpy, pair by pair of each level, from neighbors upward."""
    out = x.copy()
    stride = 1
    while stride < out.shape[-1]:
        pairs = out.reshape(-1, 2, stride)
        out = np.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), axis=1).reshape(x.shape)
        stride *= 2
    return out


def normal(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(shape[-1]))


@pytest.mark.parametrize("transform", [walsh_hadamard, level_by_level])
@pytest.mark.parametrize("n", [2**power for power in range(12)])
def test_it_is_scipys_matrix(n, transform):
    x = normal(3, n, dtype=torch.float64)
    np.testing.assert_allclose(transform(x).numpy(), x.numpy() @ hadamard(n), atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [2**power for power in range(22)])
def test_the_bits_are_those_of_one_level_at_a_time(n, dtype):
    x = normal(2 if n < 2**20 else 1, n, dtype=dtype)
    expected = one_level_at_a_time(x.numpy())
    np.testing.assert_array_equal(walsh_hadamard(x).numpy(), expected)
    np.testing.assert_array_equal(level_by_level(x).numpy(), expected)


@pytest.mark.parametrize("piece", [2**9, 2**12, 2**20])
@pytest.mark.parametrize("shape", [(3, 2**17), (2**20,), (5, 2, 2**16), (2**14, 16), (1, 2**18)])
def test_any_number_of_threads_and_pieces_gives_the_same_bits(shape, piece, monkeypatch):
    monkeypatch.setattr(butterflies, "LONG", 2**16)
    monkeypatch.setattr(butterflies, "PIECE", piece)
    x, before = normal(*shape), torch.get_num_threads()
    expected = one_level_at_a_time(x.numpy())
    try:
        for num_threads in (1, 2, 3):
            torch.set_num_threads(num_threads)
            np.testing.assert_array_equal(walsh_hadamard(x).numpy(), expected)
    finally:
        torch.set_num_threads(before)


def test_one_thread_of_several_gives_the_same_bits(monkeypatch):
    x = normal(2**19)
    expected = walsh_hadamard(x)
    monkeypatch.setattr(threads, "_openmp", lambda: None)
    assert torch.equal(walsh_hadamard(x), expected)


def test_a_long_vector_of_whole_numbers_comes_back_exactly():
    x = torch.randint(-3, 4, (2**21,)).double()
    assert torch.equal(walsh_hadamard(walsh_hadamard(x)), x * 2**21)


def test_sums_of_whole_numbers_are_transformed_to_sums():
    x, y = torch.randint(-99, 99, (2, 7, 2**13)).float()
    assert torch.equal(walsh_hadamard(x + 2 * y), walsh_hadamard(x) + 2 * walsh_hadamard(y))


def test_one_row_of_a_long_transform_is_the_parity_of_common_bits():
    n, row = 2**21, 1_234_567
    unit = torch.zeros(n)
    unit[row] = 1
    parity = np.array([bin(row & column).count("1") % 2 for column in range(0, n, 997)])
    np.testing.assert_array_equal(walsh_hadamard(unit)[::997].numpy(), 1 - 2 * parity)


@pytest.mark.parametrize("lying", [lambda x: x.t(), lambda x: x.t()[::2], lambda x: x.t()[:, None].expand(-1, 3, -1)])
def test_what_comes_in_is_left_alone_and_may_lie_anyhow(lying):
    x = lying(torch.arange(32.0).view(8, 4))
    before = x.clone()
    np.testing.assert_array_equal(walsh_hadamard(x).numpy(), before.numpy() @ hadamard(8))
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_a_transform_of_one_number_is_a_copy(dtype):
    x = torch.tensor([[3], [4]], dtype=dtype)
    walsh_hadamard(x).zero_()
    assert x.tolist() == [[3], [4]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32])
def test_small_whole_numbers_are_exact_as_any_kind_of_number(dtype):
    x = torch.randint(-1, 2, (3, 64))
    transformed = walsh_hadamard(x.to(dtype))
    assert transformed.dtype == dtype
    np.testing.assert_array_equal(transformed.long().numpy(), x.numpy() @ hadamard(64))


def test_no_vectors_are_no_vectors():
    assert walsh_hadamard(torch.zeros(0, 8)).shape == (0, 8)


def test_gradients_go_through():
    x, weights = normal(2, 16, dtype=torch.float64).requires_grad_(), normal(16, dtype=torch.float64)
    (walsh_hadamard(x) @ weights).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.tile(hadamard(16) @ weights.numpy(), (2, 1)))


@pytest.mark.parametrize("n", [0, 3, 12])
def test_other_lengths_are_refused(n):
    with pytest.raises(UserError, match=f"power of two, got {n}"):
        walsh_hadamard(torch.zeros(n))
