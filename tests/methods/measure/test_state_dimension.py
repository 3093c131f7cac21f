import numpy as np
import pytest

from dimscope.bench import Bench
from dimscope.core.errors import UnknownName, UserError
from dimscope.methods.measure.state_dimension import StateDimension
from dimscope.running import run

LOCAL = ("TwoNN", "maximum likelihood")


@pytest.fixture
def curved(planted):
    """A bench whose states lie on a surface of 3 dimensions, curved through 60."""
    bench = planted()
    rng = np.random.default_rng(0)
    waves = np.sin(rng.uniform(-1, 1, size=(1000, 3)) @ rng.normal(size=(3, 60)) + rng.uniform(0, 6, size=60))
    bench._states["train"] = waves.astype(np.float32)
    return bench


def value(result, estimator, states="measured"):
    return result.value("state_dimension", site="final", estimator=estimator, states=states)


def test_neighbors_see_the_curved_surface_and_controls_do_not_have_it(curved):
    result = StateDimension(sites=("final",)).run(curved)
    for estimator in LOCAL:
        assert value(result, estimator) == pytest.approx(3, rel=0.12)
        assert value(result, estimator, "Gaussian of the same covariance") > 5
        assert value(result, estimator, "shuffled dims") > 15
    # Bent through many flat directions, it needs more of these than it has dimensions.
    assert value(result, "principal components") > 5


def test_flat_estimates_of_planted_variances(planted):
    result = StateDimension(sites=("final",)).run(planted())
    # Three dimensions of variance 25 beside 57 of variance 1.
    assert value(result, "participation ratio") == pytest.approx(132**2 / (3 * 625 + 57), rel=0.05)
    # These three hold 75 of 132; 44 of the 57 bring it to 118.8.
    assert value(result, "principal components") == pytest.approx(47, abs=2)
    for states in ("Gaussian of the same covariance", "shuffled dims"):
        # The planted states are independent and Gaussian, so both controls are like them.
        assert value(result, "participation ratio", states) == pytest.approx(
            value(result, "participation ratio"), rel=0.05
        )
        assert value(result, "TwoNN", states) == pytest.approx(value(result, "TwoNN"), rel=0.15)


def test_the_interval_holds_the_estimate_and_shrinks_with_the_root_of_the_sentences(planted):
    few, many = (StateDimension(sites=("final",)).run(planted(num_train=num)) for num in (200, 3200))
    for estimator in LOCAL:
        widths = []
        for result in (few, many):
            number = result.number("state_dimension", estimator=estimator, states="measured")
            assert number.interval[0] < number.value < number.interval[1]
            widths.append((number.interval[1] - number.interval[0]) / number.value)
        assert widths[0] / widths[1] == pytest.approx(4, rel=0.6)


def test_repeated_sentences_are_counted_and_change_no_estimate_from_neighbors(curved):
    once = StateDimension(sites=("final",)).run(curved)
    states = curved.states("train")
    curved._states["train"] = np.concatenate([states, states[:300], states[:300]])
    thrice = StateDimension(sites=("final",)).run(curved)
    assert once.value("num_repeated_states", states="measured") == 0
    assert thrice.value("num_repeated_states", states="measured") == 600
    for estimator in LOCAL:
        assert value(thrice, estimator) == pytest.approx(value(once, estimator))


def test_a_site_where_all_sentences_are_equal_has_no_dimension_and_says_so(tiny_folder, reviews, tmp_path):
    # An encoder's first token is embedded alike in every sentence.
    bench = Bench(str(tiny_folder("bert")), reviews, out=tmp_path)
    result = run("measure/state_dimension", bench, sites=("embed", "layers.*.out"))
    assert result.value("num_repeated_states", site="embed", states="measured") == 63
    assert np.isnan(result.value("state_dimension", site="embed", states="measured", estimator="TwoNN"))
    assert result.value("state_dimension", site="layers.0.out", states="measured", estimator="TwoNN") > 0
    assert "at embed," in result.notes[0]
    sites = {number.where["site"] for number in result.numbers}
    assert sites == {"embed", *(f"layers.{layer}.out" for layer in range(bench.network.num_layers))}


def test_settings_that_contradict_and_unknown_sites_are_told(planted):
    with pytest.raises(UserError, match="at least the smallest, 30 neighbors; got 20"):
        StateDimension(smallest_neighborhood=30).run(planted())
    with pytest.raises(UnknownName, match="Did you mean 'final'"):
        StateDimension(sites=("finale",)).run(planted())


def test_the_share_can_be_chosen(planted):
    half = StateDimension(sites=("final",), share=0.5).run(planted())
    assert value(half, "principal components") == 3
