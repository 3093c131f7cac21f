import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dimscope.core.errors import UserError
from dimscope.numerics.neighbors import Neighbors, distinct


def by_brute_force(states, num_neighbors):
    distances = cdist(states, states)
    np.fill_diagonal(distances, np.inf)
    return np.sort(distances, axis=1)[:, :num_neighbors]


def test_distances_are_exact_though_the_states_are_far_from_zero():
    states = np.random.default_rng(0).normal(size=(150, 30)) * 1e-3 + 10_000
    found = Neighbors.of(states, 5)
    np.testing.assert_allclose(found.distances, by_brute_force(states, 5), rtol=1e-6)
    nearest = np.linalg.norm(states - states[found.places[:, 0]], axis=1)
    np.testing.assert_allclose(nearest, found.distances[:, 0], rtol=1e-6)


def test_neighbors_among_some_are_those_of_a_search_among_them():
    rng = np.random.default_rng(1)
    states = rng.normal(size=(200, 4))
    chosen = rng.permutation(200)[:100]
    found = Neighbors.of(states, 60).among(chosen, 5)
    np.testing.assert_allclose(found, by_brute_force(states[chosen], 5), rtol=1e-9)


def test_states_whose_neighbors_are_not_among_those_found_are_left_out():
    line = np.array([[0.0], [1.0], [2.0], [10.0], [11.5]])
    neighbors = Neighbors.of(line, 1)
    np.testing.assert_allclose(neighbors.among(np.array([0, 2, 3, 4]), 1), [[1.5], [1.5]])


def test_equal_states_count_once_in_the_order_in_which_they_came():
    rng = np.random.default_rng(2)
    states = rng.normal(size=(50, 8)).astype(np.float32) + 3
    rounded = states[[4, 9]] * np.float32(1 + 3e-7)
    together = np.concatenate([states, states[:20], states[:20], rounded])
    np.testing.assert_allclose(distinct(together), states)


def test_near_states_that_differ_stay_apart():
    states = np.array([[1.0, 1.0], [1.0, 1.0003], [4.0, 4.0]])
    assert len(distinct(states)) == 3


def test_states_that_are_all_equal_are_one():
    assert distinct(np.full((2000, 6), 0.3, dtype=np.float32)).shape == (1, 6)


def test_nan_is_refused():
    with pytest.raises(UserError, match="dimension 0"):
        distinct(np.array([[np.nan, 0.0], [1.0, 2.0]]))
