import numpy as np
import pytest
from scipy import stats

from dimscope.core.errors import UserError
from dimscope.methods.measure.persistence import Persistence, compare, overlap


def test_what_stays_and_what_goes_is_counted(planted):
    bench = planted(loud=(3, 17, 40))
    bench._before = planted(loud=(3, 40, 51, 52), tuned=False, seed=1)._states
    result = Persistence().run(bench)
    assert result.value("num_outliers_before") == 4
    assert result.value("num_outliers_after") == 3
    assert result.value("num_shared") == 2
    assert result.value("persistence_rate") == 0.5
    assert result.value("jaccard_score") == pytest.approx(2 / 5)
    assert result.value("num_shared_by_chance") == pytest.approx(3 * 4 / 60)
    assert [np.flatnonzero(row).tolist() for row in result.arrays["is_outlier"].values] == [
        [3, 40, 51, 52],
        [3, 17, 40],
    ]


def test_the_rank_of_variances_is_spearmans(planted):
    bench = planted(loud=(3, 17, 40))
    bench._before = planted(loud=(3, 40, 51, 52), tuned=False, seed=1)._states
    result = Persistence().run(bench)
    before, after = (states["train"].astype(np.float64).var(axis=0) for states in (bench._before, bench._states))
    assert result.value("variance_rank_correlation") == pytest.approx(stats.spearmanr(before, after).statistic)
    assert result.value("principal_dim_before") == before.argmax()
    assert result.value("principal_dim_after") == after.argmax()


def test_a_bench_without_checkpoint_is_told_what_to_do(planted):
    with pytest.raises(UserError, match="checkpoint"):
        Persistence().run(planted(tuned=False))


def test_two_empty_sets_have_no_overlap_to_speak_of():
    by_name = {number.name: number.value for number in overlap(np.array([], int), np.array([], int), 60)}
    assert np.isnan(by_name["jaccard_score"])
    assert np.isnan(by_name["persistence_rate"])


def test_independent_random_sets_share_what_chance_says():
    rng = np.random.default_rng(0)
    shared, by_chance = [], set()
    for _ in range(2000):
        before, after = (rng.choice(100, size, replace=False) for size in (12, 20))
        by_name = {number.name: number.value for number in overlap(before, after, 100)}
        shared.append(by_name["num_shared"])
        by_chance.add(round(by_name["num_shared_by_chance"], 12))
    assert by_chance == {2.4}
    # Hypergeometric variance: 12 · 0.2 · 0.8 · 88/99.
    assert np.mean(shared) == pytest.approx(2.4, abs=4 * np.sqrt(12 * 0.16 * 88 / 99 / 2000))


def test_many_equal_sets_are_no_accident_and_random_ones_are():
    rng = np.random.default_rng(0)
    same = [np.array([1, 5, 9])] * 4
    random = [rng.choice(200, 3, replace=False) for _ in range(4)]
    equal, rates = compare(same, 200, seed=1)
    by_name = {number.name: number.value for number in equal}
    assert by_name["mean_jaccard_score"] == 1
    assert by_name["mean_jaccard_p_value"] < 0.01
    assert np.flatnonzero(rates.values).tolist() == [1, 5, 9]
    assert by_name["num_always_outliers"] == 3
    chance = {number.name: number.value for number in compare(random, 200, seed=1)[0]}
    assert chance["mean_jaccard_p_value"] > 0.05
