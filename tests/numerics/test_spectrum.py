import numpy as np
import pytest
from sklearn.decomposition import PCA

from dimscope.core.errors import UserError
from dimscope.numerics.spectrum import components_holding, spectrum


@pytest.mark.parametrize("num_states", [200, 9])
def test_eigenvalues_are_scikit_learns_with_more_and_with_fewer_states_than_dims(num_states):
    rng = np.random.default_rng(0)
    states = (rng.normal(size=(num_states, 12)) * np.arange(1, 13) + 1000).astype(np.float32)
    found = spectrum(states)
    expected = PCA().fit(states.astype(np.float64)).explained_variance_ * (num_states - 1) / num_states
    assert found.shape == (12,)
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found[num_states - 1 :], 0, atol=1e-9)


def test_components_are_counted_as_scikit_learn_counts_them():
    states = np.random.default_rng(1).normal(size=(300, 20)) * np.arange(1, 21)
    for share in (0.5, 0.9, 0.99):
        assert components_holding(share, spectrum(states)) == PCA(share).fit(states).n_components_


def test_the_boundary_counts_and_all_of_the_variance_can_be_asked_for():
    eigenvalues = np.array([0.7, 0.2, 0.1, 0.0])
    assert components_holding(0.9, eigenvalues) == 2
    assert components_holding(0.91, eigenvalues) == 3
    assert components_holding(1.0, eigenvalues) == 3


def test_what_does_not_vary_has_no_components():
    eigenvalues = spectrum(np.full((5, 3), 7.7, dtype=np.float32))
    np.testing.assert_allclose(eigenvalues, 0, atol=1e-20)
    assert np.isnan(components_holding(0.9, np.zeros(3)))


def test_nan_is_refused():
    with pytest.raises(UserError, match="dimension 1"):
        spectrum(np.array([[0.0, np.nan], [1.0, 2.0]]))
