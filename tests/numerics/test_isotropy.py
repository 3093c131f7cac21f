import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import ortho_group
from sklearn.decomposition import PCA

from dimscope.core.errors import UserError
from dimscope.numerics.isotropy import iso_score, log_partition_score, mean_cosine
from dimscope.numerics.spectrum import spectrum

RNG = np.random.default_rng


def step_by_step(states):
    """IsoScore as algorithm 1 of the paper says it: principal components, diagonal, defect, score."""
    n = states.shape[1]
    diagonal = np.cov(PCA().fit_transform(states).T).diagonal()
    scaled = np.sqrt(n) * diagonal / np.linalg.norm(diagonal)
    defect = np.linalg.norm(scaled - np.ones(n)) / np.sqrt(2 * (n - np.sqrt(n)))
    fraction = (n - defect**2 * (n - np.sqrt(n))) ** 2 / n**2
    return (n * fraction - 1) / (n - 1)


def mixed(num_states=300, num_dims=7, seed=0):
    rng = RNG(seed)
    return rng.normal(size=(num_states, num_dims)) @ rng.normal(size=(num_dims, num_dims)) + 2


def test_the_short_form_is_the_papers_algorithm():
    for seed in range(5):
        assert iso_score(spectrum(mixed(seed=seed))) == pytest.approx(step_by_step(mixed(seed=seed)))


def test_an_isotropic_gaussian_is_near_1_and_a_line_is_0():
    rng = RNG(1)
    assert iso_score(spectrum(rng.normal(size=(50_000, 10)))) == pytest.approx(1, abs=0.005)
    line = np.outer(rng.normal(size=100), rng.normal(size=10))
    assert iso_score(spectrum(line)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("used", [1, 3, 12])
def test_equal_use_of_some_dims_gives_their_share(used):
    states = np.concatenate([np.eye(12)[:used], -np.eye(12)[:used]])
    assert iso_score(spectrum(states)) == pytest.approx((used - 1) / 11)


def test_iso_score_and_mean_cosine_do_not_depend_on_rotation_or_scale():
    states, rotation = mixed(), ortho_group.rvs(7, random_state=0)
    assert iso_score(spectrum(1e-3 * states @ rotation)) == pytest.approx(iso_score(spectrum(states)))
    assert mean_cosine(1e3 * states @ rotation) == pytest.approx(mean_cosine(states))


def test_iso_score_does_not_depend_on_the_mean_and_mean_cosine_does():
    states = RNG(2).normal(size=(400, 20))
    assert iso_score(spectrum(states + 100)) == pytest.approx(iso_score(spectrum(states)))
    assert mean_cosine(states) == pytest.approx(0, abs=0.01)
    assert mean_cosine(states + 100) > 0.99


def test_no_variance_or_one_dim_has_no_iso_score():
    assert np.isnan(iso_score(np.zeros(4)))
    assert np.isnan(iso_score(np.ones(1)))


def test_the_mean_cosine_is_that_of_all_pairs():
    assert mean_cosine(mixed()) == pytest.approx(1 - pdist(mixed(), "cosine").mean())


def test_a_state_of_zero_has_no_cosine():
    with pytest.raises(UserError, match="no cosine"):
        mean_cosine(np.array([[1.0, 0.0], [0.0, 0.0]]))


def partition(states, directions):
    z = [np.exp(states @ (sign * direction)).sum() for direction in directions for sign in (1, -1)]
    return np.log(min(z) / max(z))


def test_the_partition_score_goes_over_eigenvectors_as_columns():
    rotation = ortho_group.rvs(5, random_state=1)
    # Along the columns of `rotation`, products are diagonal: these are the eigenvectors, known beforehand.
    states = np.concatenate([np.diag([3.0, 1.5, 1.0, 0.5, 0.2]), np.diag([-1.0, -0.5, -0.2, -0.1, -0.05])]) @ rotation.T
    assert log_partition_score(states) == pytest.approx(partition(states, rotation.T))
    rows_of_the_solver = np.linalg.eigh(states.T @ states)[1]
    assert log_partition_score(states) != pytest.approx(partition(states, rows_of_the_solver), rel=0.05)


def test_the_partition_score_is_rotation_invariant_and_0_where_all_directions_are_alike():
    states, rotation = mixed() / 10, ortho_group.rvs(7, random_state=2)
    assert log_partition_score(states @ rotation) == pytest.approx(log_partition_score(states))
    assert log_partition_score(np.concatenate([np.eye(4), -np.eye(4)])) == pytest.approx(0)


def test_a_partition_score_too_small_for_a_number_has_a_logarithm():
    assert log_partition_score(np.array([[1000.0, 0.0], [1001.0, 0.0]])) == pytest.approx(-2001, rel=1e-3)
