import subprocess
import sys

import numpy as np
import pytest
import torch

from dimscope.core.errors import UserError
from dimscope.numerics import one_hot, projections
from dimscope.numerics.projections import draw, frozen_digest

KINDS = ["one_hot", "fastfood", "fastfood_whole", "dense", "sparse"]
SIZES = [37, 8, 70, 12]
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Many tiles, turned and cut, on small sizes."""
    monkeypatch.setattr(one_hot, "TILE", 24)
    monkeypatch.setattr(one_hot, "STRETCH", 7)
    monkeypatch.setattr(projections, "WIDTH", 40)


def applied(projection, z):
    """P z as one vector, laid out by where each piece says it belongs; nan where none did, twice is an error."""
    out = [torch.full((size,), float("nan")) for size in SIZES]
    for tensor, start, values in projection.apply(z):
        place = out[tensor][start : start + len(values)]
        assert place.isnan().all()
        assert len(place) == len(values)
        place.copy_(values)
    return torch.cat(out)


def matrix(projection, d):
    return torch.stack([applied(projection, unit) for unit in torch.eye(d)], dim=1)


@every_kind
@pytest.mark.parametrize("d", [1, 5, 8])
def test_the_map_is_linear_and_reaches_every_coordinate(kind, d):
    projection = draw(kind, SIZES, d, seed=3)
    z = torch.randn(d, generator=torch.Generator().manual_seed(d))
    torch.testing.assert_close(applied(projection, z), matrix(projection, d) @ z, rtol=1e-5, atol=1e-6)


@every_kind
def test_the_transpose_is_that_of_the_matrix(kind):
    projection = draw(kind, SIZES, 7, seed=3)
    gradient = torch.randn(sum(SIZES), generator=torch.Generator().manual_seed(0))
    expected = matrix(projection, 7).T @ gradient
    torch.testing.assert_close(projection.transpose(gradient.split(SIZES)), expected, rtol=1e-5, atol=1e-5)


@every_kind
def test_it_is_adjoint(kind):
    projection = draw(kind, SIZES, 6, seed=4)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(6, generator=generator), torch.randn(sum(SIZES), generator=generator)
    one, other = applied(projection, x) @ y, x @ projection.transpose(y.split(SIZES))
    assert one.item() == pytest.approx(other.item(), rel=1e-5)


@every_kind
def test_autograd_through_the_explicit_matrix_agrees(kind):
    projection = draw(kind, SIZES, 5, seed=5)
    explicit, goal = matrix(projection, 5), torch.linspace(-1, 1, sum(SIZES))
    z = torch.full((5,), 0.3, requires_grad=True)
    ((explicit @ z - goal) ** 3).sum().backward()
    dense_gradient = 3 * (applied(projection, z.detach()) - goal) ** 2
    torch.testing.assert_close(projection.transpose(dense_gradient.split(SIZES)), z.grad, rtol=1e-4, atol=1e-4)


@every_kind
def test_a_missing_gradient_counts_as_zeros(kind):
    projection = draw(kind, SIZES, 5, seed=5)
    parts = list(torch.ones(sum(SIZES)).split(SIZES))
    zeroed = [torch.zeros_like(part) if index == 2 else part for index, part in enumerate(parts)]
    parts[2] = None
    torch.testing.assert_close(projection.transpose(parts), projection.transpose(zeroed))


@pytest.mark.parametrize(("num_coordinates", "d"), [(127, 5), (127, 24), (127, 60), (127, 127), (11, 3)])
def test_one_hot_is_balanced_and_orthonormal(num_coordinates, d):
    projection = draw("one_hot", [num_coordinates], d, seed=6)
    columns = torch.stack([torch.cat([values for *_, values in projection.apply(unit)]) for unit in torch.eye(d)], 1)
    assert torch.equal((columns != 0).sum(1), torch.ones(num_coordinates, dtype=torch.int64))
    owned = (columns != 0).sum(0)
    assert owned.max() - owned.min() <= 1
    torch.testing.assert_close(columns.T @ columns, torch.eye(d), rtol=1e-6, atol=1e-6)
    assert 0 < (columns < 0).sum() < num_coordinates


def test_one_hot_tiles_are_turned():
    """Unturned, all tiles would follow the same numbers at the same places; turned, as many as by chance."""
    projection = draw("one_hot", [24 * 50], 4, seed=1)
    followed = torch.stack([torch.cat([values for *_, values in projection.apply(unit)]) for unit in torch.eye(4)])
    number = followed.abs().argmax(0).view(50, 24)
    assert (number[1:] == number[:-1]).float().mean().item() == pytest.approx(1 / 4, abs=0.1)


@pytest.mark.parametrize(
    ("kind", "ratio", "tolerance"),
    [("one_hot", 1, 1e-5), ("fastfood_whole", 1, 0.05), ("dense", 1, 0.05), ("sparse", 1, 0.1), ("fastfood", 2, 0.1)],
)
def test_how_far_it_moves(kind, ratio, tolerance, monkeypatch):
    """Fastfood moves each of the four tensors as far as z is long, all others do so with the whole."""
    monkeypatch.setattr(projections, "WIDTH", 10**5)
    sizes = [30_000, 5_000, 20_000, 9_000]
    z = torch.randn(50, generator=torch.Generator().manual_seed(0))
    squares = torch.zeros(4)
    for tensor, _, values in draw(kind, sizes, 50, seed=2).apply(z):
        squares[tensor] += values.square().sum()
    assert (squares.sum().sqrt() / z.norm()).item() == pytest.approx(ratio, rel=tolerance)
    if kind == "fastfood":
        np.testing.assert_allclose((squares.sqrt() / z.norm()).numpy(), 1, rtol=0.15)


@pytest.mark.parametrize("kind", ["dense", "sparse", "one_hot"])
def test_columns_have_length_one(kind):
    lengths = matrix(draw(kind, SIZES, 9, seed=1), 9).norm(dim=0)
    torch.testing.assert_close(lengths, torch.ones(9))


def test_sparse_is_as_sparse_as_it_says():
    entries = draw("sparse", [10_000], 200, seed=1).values
    assert len(entries) == pytest.approx(200 * 100, rel=0.05)


def test_the_seed_alone_decides_in_every_process():
    """Other threads and other instructions, which add up in other orders, give the same bits."""
    program = (
        "import torch; from dimscope.numerics.projections import draw, frozen_digest; torch.manual_seed(99)\n"
        f"for kind in {KINDS}:\n"
        "    p, z = draw(kind, [3700, 80, 700, 12], 6, seed=7), torch.linspace(-1, 1, 6)\n"
        "    print(kind, frozen_digest(p), torch.cat([v for *_, v in p.apply(z)]).numpy().tobytes().hex())"
    )
    environments = [
        {"OMP_NUM_THREADS": "1"},
        {
            "OMP_NUM_THREADS": "2",
            "ATEN_CPU_CAPABILITY": "default",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
            "NUMBA_CPU_NAME": "generic",
        },
    ]
    outputs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
        for environment in environments
    ]
    assert outputs[0].stdout.count("\n") == len(KINDS)
    assert outputs[0].stdout == outputs[1].stdout


@every_kind
def test_other_seeds_draw_other_maps(kind):
    digests = [frozen_digest(draw(kind, SIZES, 6, seed)) for seed in (7, 7, 8)]
    assert digests[0] == digests[1] != digests[2]


def test_fastfood_adds_up_in_one_order(monkeypatch):
    """The transform written level by level, as it runs on other devices, gives the same bits."""
    projection = draw("fastfood_whole", SIZES, 8, seed=1)
    z = torch.randn(8, generator=torch.Generator().manual_seed(0)) * 1e-3
    ours = applied(projection, z)

    def butterfly(x):
        half = 1
        while half < len(x):
            pairs = x.view(-1, 2, half)
            x = torch.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), 1).view(-1)
            half *= 2
        return x

    monkeypatch.setattr("dimscope.numerics.fastfood.walsh_hadamard", butterfly)
    assert torch.equal(applied(projection, z), ours)


def test_more_numbers_than_a_tensor_can_tell_apart_are_refused():
    with pytest.raises(UserError, match=r"9 trained numbers apart in a vector of 8 parameters, but at most 8"):
        draw("fastfood", SIZES, 9, seed=1)
    draw("fastfood", SIZES, 8, seed=1)


@every_kind
def test_more_numbers_than_parameters_are_refused(kind):
    with pytest.raises(UserError, match="127 parameters cannot be moved by 128 trained numbers"):
        draw(kind, SIZES, 128, seed=1)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_what_would_not_fit_is_refused(kind):
    with pytest.raises(UserError, match="take one_hot"):
        draw(kind, [10**9, 10**9], 10_000, seed=1)


def least_loss(projection, d, rows, goal):
    """The smallest squared error of `rows` θ against the goal over all z, by least squares."""
    reached = rows.double() @ matrix(projection, d).double()
    z = torch.linalg.lstsq(reached, goal.double()[:, None], driver="gelsd").solution
    return (reached @ z - goal.double()[:, None]).square().sum().item()


@every_kind
def test_ten_constraints_need_ten_numbers(kind, monkeypatch):
    """Li et al. 2018, section 2: ten disjoint sums of a vector of 1000 are to be 1."""
    monkeypatch.setitem(globals(), "SIZES", [600, 400])
    rows = torch.eye(10).repeat_interleave(100, dim=1)
    losses = {d: least_loss(draw(kind, SIZES, d, seed=1), d, rows, torch.ones(10)) for d in (9, 10)}
    assert losses[9] > 1e-3
    assert losses[10] < 1e-9


@every_kind
@pytest.mark.parametrize("num_flat", [119, 121])
def test_a_quadratic_needs_as_many_numbers_as_it_has_directions_that_are_not_flat(kind, num_flat):
    generator = torch.Generator().manual_seed(3)
    rows, goal = torch.randn(127 - num_flat, 127, generator=generator), torch.randn(127 - num_flat, generator=generator)
    losses = [least_loss(draw(kind, SIZES, d, seed=1), d, rows, goal) for d in (126 - num_flat, 127 - num_flat)]
    assert losses[0] > 1e-3
    assert losses[1] < 1e-9


@every_kind
def test_a_teacher_is_recovered_with_its_own_seed_alone(kind):
    z = torch.randn(6, generator=torch.Generator().manual_seed(1))
    teacher = applied(draw(kind, SIZES, 6, seed=5), z)
    assert least_loss(draw(kind, SIZES, 6, seed=5), 6, torch.eye(127), teacher) < 1e-9
    assert least_loss(draw(kind, SIZES, 6, seed=6), 6, torch.eye(127), teacher) > 0.5 * teacher.square().sum()


@pytest.mark.parametrize("kind", ["one_hot", "fastfood_whole", "dense"])
def test_as_many_numbers_as_parameters_reach_every_place(kind):
    goal = torch.randn(127, generator=torch.Generator().manual_seed(1))
    assert least_loss(draw(kind, SIZES, 127, seed=5), 127, torch.eye(127), goal) < 1e-6
