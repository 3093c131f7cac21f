from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from dimscope.core.errors import UserError
from dimscope.numerics import directions
from dimscope.numerics.directions import first_principal_component, linear_discriminant, random_directions


def test_principal_component_is_scikit_learns(monkeypatch):
    monkeypatch.setattr(directions, "ROWS_AT_ONCE", 64)
    rng = np.random.default_rng(0)
    states = (rng.standard_normal((500, 12)) @ rng.standard_normal((12, 12)) + 100).astype(np.float32)
    found = first_principal_component(states)
    expected = PCA(1).fit(states.astype(np.float64)).components_[0]
    assert abs(found @ expected) == pytest.approx(1, abs=1e-9)
    assert found[np.abs(found).argmax()] > 0
    assert np.linalg.norm(found) == pytest.approx(1)


def test_principal_component_with_fewer_sentences_than_dimensions():
    planted = np.array([3.0, -4.0, 0.0, 0.0]) / 5
    states = np.outer([-2.0, 5.0, 1.0], planted)
    np.testing.assert_allclose(first_principal_component(states), -planted, atol=1e-12)


def test_discriminant_is_fishers():
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((5, 5))
    labels = np.repeat([0, 1], 100_000)
    shift = np.array([1.0, -2.0, 0.5, 0.0, 1.0])
    states = rng.standard_normal((200_000, 5)) @ mixing + np.outer(labels, shift)
    fisher = np.linalg.solve(mixing.T @ mixing, shift)
    assert linear_discriminant(states, labels) @ fisher / np.linalg.norm(fisher) == pytest.approx(1, abs=1e-3)
    assert linear_discriminant(states, 1 - labels) @ fisher < 0


def test_discriminant_of_three_classes_lies_along_their_planted_means():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 6000)
    planted = np.array([0.0, 0.6, 0.0, 0.8])
    states = (rng.standard_normal((6000, 4)) + np.outer(4.0 * labels, planted)).astype(np.float32)
    np.testing.assert_allclose(linear_discriminant(states, labels), planted, atol=0.03)


def test_discriminant_refuses_what_has_none():
    states = np.random.default_rng(3).standard_normal((6, 2))
    with pytest.raises(UserError, match="at least two classes"):
        linear_discriminant(states, np.zeros(6, dtype=int))
    with pytest.raises(UserError, match="no direction separates"):
        linear_discriminant(np.ones((6, 2)), np.array([0, 1] * 3))


def test_random_directions_are_uniform_on_the_sphere_and_follow_the_generator():
    found = random_directions(20_000, 4, np.random.default_rng(4))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(found.T @ found / len(found), np.eye(4) / 4, atol=0.01)
    # On the sphere the fourth moment of a coordinate is 3 / (d (d + 2)); on a normalized cube it is less.
    np.testing.assert_allclose((found**4).mean(axis=0), 3 / 24, atol=0.005)
    np.testing.assert_array_equal(found, random_directions(20_000, 4, np.random.default_rng(4)))


def test_no_states_have_no_component():
    with pytest.raises(UserError, match="needs states"):
        first_principal_component(np.zeros((0, 3)))
