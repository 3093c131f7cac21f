import numpy as np
import pytest
import torch

from dimscope.numerics.log_probability import above_mean, log_probability, shared_out


@pytest.mark.parametrize("size", [0.1, 5.0, 30.0])
def test_the_shares_add_up_to_the_change(size):
    rng = np.random.default_rng(0)
    logits, moves = size * rng.normal(size=1000), size * rng.normal(size=(6, 1000))
    change = log_probability(logits + moves.sum(axis=0), 7) - log_probability(logits, 7)
    assert shared_out(logits, moves, 7).sum() == pytest.approx(change, abs=1e-6 * max(1, size**2))


def test_a_share_is_the_integral_of_the_gradient_along_the_way():
    rng = np.random.default_rng(1)
    logits, moves = rng.normal(size=20), 3 * rng.normal(size=(3, 20))
    num_steps, expected = 4000, np.zeros(3)
    for step in range(num_steps):
        at = torch.tensor(logits + (step + 0.5) / num_steps * moves.sum(axis=0), requires_grad=True)
        at.log_softmax(0)[4].backward()
        expected += moves @ at.grad.numpy() / num_steps
    np.testing.assert_allclose(shared_out(logits, moves, 4), expected, atol=1e-6)


def test_what_moves_all_outputs_alike_has_no_share():
    moves = np.stack([np.full(9, 4.0), np.eye(9)[2], np.zeros(9)])
    shares = shared_out(np.arange(9.0), moves, 2)
    np.testing.assert_allclose(shares[[0, 2]], 0, atol=1e-12)
    assert shares[1] > 0
    np.testing.assert_allclose(above_mean(moves, 2), [0, 8 / 9, 0])


def test_small_moves_have_their_shares_by_the_first_derivative():
    rng = np.random.default_rng(3)
    logits, moves = rng.normal(size=50), 1e-5 * rng.normal(size=(4, 50))
    probabilities = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(shared_out(logits, moves, 3), moves[:, 3] - moves @ probabilities, atol=1e-9)


def test_the_log_probability_is_torchs():
    logits = np.random.default_rng(2).normal(size=30).astype(np.float32)
    assert log_probability(logits, 5) == pytest.approx(torch.from_numpy(logits).log_softmax(0)[5].item(), abs=1e-5)
