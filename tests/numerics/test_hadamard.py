import numpy as np
import pytest
import torch
from scipy.linalg import hadamard

from dimscope.core.errors import UserError
from dimscope.numerics import hadamard as ours
from dimscope.numerics.hadamard import walsh_hadamard


@pytest.mark.parametrize("n", [2**power for power in range(13)])
def test_it_is_scipys_matrix(n):
    x = torch.randn(3, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    np.testing.assert_allclose(walsh_hadamard(x).numpy(), x.numpy() @ hadamard(n), atol=1e-9)


@pytest.mark.parametrize("num_vectors", [1, 5])
def test_blocks_are_put_together(num_vectors, monkeypatch):
    monkeypatch.setattr(ours, "BLOCK", 128)
    monkeypatch.setattr(ours, "COLUMNS", 4)
    x = torch.randint(-9, 9, (num_vectors, 4096)).float()
    np.testing.assert_array_equal(walsh_hadamard(x).numpy(), x.numpy() @ hadamard(4096))


def test_a_long_vector_of_whole_numbers_comes_back_exactly():
    x = torch.randint(-3, 4, (2**21,)).double()
    assert torch.equal(walsh_hadamard(walsh_hadamard(x)), x * 2**21)


def test_one_row_of_a_long_transform_is_the_parity_of_common_bits():
    n, row = 2**21, 1_234_567
    unit = torch.zeros(n)
    unit[row] = 1
    parity = np.array([bin(row & column).count("1") % 2 for column in range(0, n, 997)])
    np.testing.assert_array_equal(walsh_hadamard(unit)[::997].numpy(), 1 - 2 * parity)


def test_what_comes_in_is_left_alone_and_may_lie_anyhow():
    x = torch.arange(32.0).view(8, 4).t()
    before = x.clone()
    np.testing.assert_array_equal(walsh_hadamard(x).numpy(), before.numpy() @ hadamard(8))
    assert torch.equal(x, before)


@pytest.mark.parametrize("n", [0, 3, 12])
def test_other_lengths_are_refused(n):
    with pytest.raises(UserError, match=f"power of two, got {n}"):
        walsh_hadamard(torch.zeros(n))
