import numpy as np
import pytest

from dimscope.bench import Bench
from dimscope.core.errors import UnknownName
from dimscope.methods.measure.outlier_dimensions import OutlierDimensions
from dimscope.running import run


def test_planted_outliers_are_found_exactly(planted):
    result = OutlierDimensions().run(planted())
    assert np.flatnonzero(result.arrays["is_outlier"].values[0, 0]).tolist() == [3, 17, 40]
    assert result.value("num_outlier_dims") == 3
    # Three dimensions of variance 25 beside 57 of variance 1.
    assert result.value("outlier_variance_fraction") == pytest.approx(75 / 132, abs=0.02)
    assert result.value("participation_ratio") == pytest.approx(132**2 / (3 * 625 + 57), rel=0.05)
    assert result.value("principal_dim") in (3, 17, 40)


def test_no_outlier_is_found_where_none_is(planted):
    result = OutlierDimensions().run(planted(loud=()))
    assert result.value("num_outlier_dims") == 0
    assert result.value("outlier_variance_fraction") == 0


def test_the_boundary_counts(planted):
    states = np.zeros((2, 20), np.float32)
    # Variance 5 in one of 20 dimensions, and of the others so that the mean is exactly 1.
    states[:, 0] = [-np.sqrt(5), np.sqrt(5)]
    states[:, 1:16] = [[-1], [1]]
    bench = planted()
    bench._states = {"train": states.astype(np.float64)}
    at_boundary, above = (OutlierDimensions(factor=factor).run(bench) for factor in (5.0, 5.001))
    assert (at_boundary.value("num_outlier_dims"), above.value("num_outlier_dims")) == (1, 0)


def test_a_constant_dimension_far_off_is_seen_though_it_does_not_vary(planted):
    bench = planted(loud=())
    bench._states["train"][:, 8] = 5.6
    result = OutlierDimensions().run(bench)
    assert result.value("num_outlier_dims") == 0
    assert np.flatnonzero(result.arrays["is_constant_mean_outlier"].values[0, 0]).tolist() == [8]


def test_few_dimensions_are_told_to_be_too_few(planted):
    bench = planted()
    bench._states["train"] = bench._states["train"][:, :4]
    assert "no outlier is possible" in OutlierDimensions().run(bench).notes[0]


def test_patterns_stand_for_sites_and_unknown_ones_are_told(planted):
    result = OutlierDimensions(sites=("layers.*.out", "final")).run(planted())
    assert result.arrays["variance"].ticks["site"] == ["layers.0.out", "final"]
    with pytest.raises(UnknownName, match="Did you mean 'final'"):
        OutlierDimensions(sites=("finale",)).run(planted())


def test_tokens_are_measured_with_the_first_apart(tiny_folder, reviews, tmp_path):
    bench = Bench(str(tiny_folder("gpt2")), reviews, out=tmp_path)
    result = run("measure/outlier_dimensions", bench, tokens="all", sites=("layers.0.out",))
    # The oracle: plain transformers, one sentence at a time.
    network = bench.network
    tokens = [
        network.model.base_model(
            **network.tokenizer(text, return_tensors="pt"), output_hidden_states=True
        ).hidden_states[1][0]
        for text in bench.task.train.texts
    ]
    first = np.stack([states[0].detach().numpy() for states in tokens])
    others = np.concatenate([states[1:].detach().numpy() for states in tokens])
    variance = result.arrays["variance"].values[0]
    np.testing.assert_allclose(variance, [first.var(0), others.var(0)], rtol=1e-3, atol=1e-6)


@pytest.mark.registry
def test_minilm_has_no_outliers_before_fine_tuning(tmp_path):
    bench = Bench("minilm", "movie_reviews", limit=1000, out=tmp_path)
    result = run("measure/outlier_dimensions", bench)
    assert result.value("num_outlier_dims") == 0
    assert result.value("principal_variance_ratio") < 2.5


@pytest.mark.registry
@pytest.mark.slow
def test_smollm2_has_the_outliers_that_were_measured_before(tmp_path):
    bench = Bench("smollm2", "movie_reviews", limit=1000, out=tmp_path)
    result = run("measure/outlier_dimensions", bench)
    variance = result.arrays["variance"].values[0, 0]
    assert result.value("num_outlier_dims") >= 10
    assert set(np.argsort(-variance)[:5]) == {387, 199, 322, 25, 521}
