import numpy as np
import pytest

from dimscope.numerics.local_dimension import maximum_likelihood, two_nn
from dimscope.numerics.neighbors import Neighbors


def ball(num_points, dimension, rng):
    """Points drawn uniformly from a ball, turned into 50 dimensions."""
    gaussian = rng.normal(size=(num_points, dimension))
    radius = rng.uniform(size=(num_points, 1)) ** (1 / dimension)
    inside = gaussian / np.linalg.norm(gaussian, axis=1, keepdims=True) * radius
    return inside @ np.linalg.qr(rng.normal(size=(50, dimension)))[0].T


def poisson_distances(num_points, dimension, num_neighbors, rng):
    """Distances as in a Poisson process, where both models hold exactly and points are independent."""
    return rng.exponential(size=(num_points, num_neighbors)).cumsum(axis=1) ** (1 / dimension)


@pytest.mark.parametrize("dimension", [1, 4, 30])
def test_both_are_exact_where_their_models_are(dimension):
    distances = poisson_distances(20_000, dimension, 20, np.random.default_rng(0))
    assert two_nn(distances) == pytest.approx(dimension, rel=0.03)
    assert maximum_likelihood(distances, 10, 20) == pytest.approx(dimension, rel=0.01)
    # With two neighbors the mean of inverses would be infinite; the inverse of means is not.
    assert maximum_likelihood(distances, 2, 2) == pytest.approx(dimension, rel=0.03)


@pytest.mark.parametrize("dimension", [2, 3, 5])
def test_the_dimension_of_a_ball_in_50_dims_is_found(dimension):
    distances = Neighbors.of(ball(2000, dimension, np.random.default_rng(1)), 20).distances
    assert two_nn(distances) == pytest.approx(dimension, rel=0.08)
    assert maximum_likelihood(distances) == pytest.approx(dimension, rel=0.1)


def test_a_curved_surface_has_the_dimension_of_the_surface():
    angle, height = np.random.default_rng(2).uniform(size=(2, 2000)) * [[9.0], [5.0]]
    roll = np.stack([angle * np.cos(angle), height, angle * np.sin(angle)], axis=1)
    assert two_nn(Neighbors.of(roll, 2).distances) == pytest.approx(2, rel=0.08)


def test_scale_does_not_matter():
    distances = poisson_distances(500, 6, 20, np.random.default_rng(3))
    assert two_nn(distances * 1e-3) == pytest.approx(two_nn(distances))
    assert maximum_likelihood(distances * 1e3) == pytest.approx(maximum_likelihood(distances))


def test_the_line_is_the_least_squares_one_without_what_is_discarded():
    distances = poisson_distances(200, 3, 2, np.random.default_rng(4))
    log_ratio = np.sort(np.log(distances[:, 1] / distances[:, 0]))[:150]
    line = -np.log(1 - np.arange(1, 151) / 200)
    slope = np.linalg.lstsq(log_ratio[:, None], line, rcond=None)[0][0]
    assert two_nn(distances, discarded_fraction=0.25) == pytest.approx(slope)


def test_the_likelihood_is_levina_and_bickels_equation_8_averaged_inverse():
    distances = poisson_distances(30, 3, 6, np.random.default_rng(5))

    def of_point(row, k):
        return 1 / (sum(np.log(row[k - 1] / row[j]) for j in range(k - 1)) / (k - 1))

    by_k = [1 / np.mean([1 / of_point(row, k) for row in distances]) for k in (4, 5, 6)]
    assert maximum_likelihood(distances, 4, 6) == pytest.approx(np.mean(by_k))


def test_points_with_equally_far_neighbors_have_no_finite_dimension():
    assert two_nn(np.ones((10, 2))) == np.inf


def test_both_agree_with_scikit_dimension():
    skdim = pytest.importorskip("skdim.id", reason="scikit-dimension comes with the extra 'compare'")
    points = ball(1000, 6, np.random.default_rng(6))
    neighbors = Neighbors.of(points, 15)
    given = neighbors.distances, neighbors.places
    theirs = skdim.MLE().fit(points, precomputed_knn_arrays=given, n_neighbors=15, comb="mle").dimension_
    assert maximum_likelihood(neighbors.distances, 15, 15) == pytest.approx(theirs)
    # Its empirical distribution starts at 0 and not at 1 / points, hence the tolerance.
    assert two_nn(neighbors.distances) == pytest.approx(skdim.TwoNN().fit(points).dimension_, rel=0.01)
