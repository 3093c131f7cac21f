import numpy as np

from dimscope.methods.measure.activation_profile import STATISTICS, ActivationProfile


def test_the_profile_is_that_of_the_validation_states(planted):
    bench = planted()
    bench._states["validation"][:, 8] += 9
    result = ActivationProfile().run(bench)
    states = bench.states("validation").astype(np.float64)
    expected = [states.mean(0), states.std(0), np.quantile(states, 0.05, axis=0), np.quantile(states, 0.95, axis=0)]
    np.testing.assert_allclose(result.arrays["profile"].values, expected, rtol=1e-6)
    assert tuple(result.arrays["profile"].ticks["statistic"]) == STATISTICS
    assert result.value("farthest_mean_dim") == 8
    assert result.value("widest_spread_dim") in (3, 17, 40)


def test_the_split_can_be_chosen(planted):
    bench = planted()
    bench._states["train"][:, 8] += 9
    assert ActivationProfile(split="train").run(bench).value("farthest_mean_dim") == 8
    assert ActivationProfile(split="validation").run(bench).value("farthest_mean_dim") != 8
