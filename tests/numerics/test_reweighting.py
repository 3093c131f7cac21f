import math

import numpy as np
import pytest

from dimscope.core.errors import UserError
from dimscope.numerics.reweighting import (
    COLLINEAR,
    Reweighting,
    cosines,
    hold_out,
    jackknife_margin,
    r2_score,
    squared_errors,
)

WEIGHTS = np.array([-1.0, 0.0, 2.0, 0.5])
GROUPS = np.repeat(np.arange(10), 4)


def planted(noise=0.0, seed=0, num_prompts=40, num_dims=16):
    """Outputs that are −1, 0, 2 and 0.5 times four sources, and a constant."""
    rng = np.random.default_rng(seed)
    sources = rng.normal(size=(num_prompts, 4, num_dims)) + 3 * rng.normal(size=(4, num_dims))
    intercept = 5 * rng.normal(size=num_dims)
    outputs = np.einsum("psd,s->pd", sources, WEIGHTS) + intercept
    return outputs + noise * rng.normal(size=outputs.shape), sources, intercept


def explained(outputs, sources, groups=GROUPS):
    held_out = hold_out(outputs, sources, groups)
    return r2_score(squared_errors(outputs, held_out.predicted, held_out.means, groups))


def test_planted_weights_and_intercept_are_recovered():
    outputs, sources, intercept = planted()
    fitted = Reweighting.of(outputs, sources)
    np.testing.assert_allclose(fitted.weights, WEIGHTS, atol=1e-4)
    np.testing.assert_allclose(fitted.intercept, intercept, atol=1e-3)
    np.testing.assert_allclose(fitted.predict(sources), outputs, atol=1e-3)
    assert 1 < fitted.condition_number < 2
    assert explained(outputs, sources) == pytest.approx(1, abs=1e-6)


def test_the_fit_is_that_of_one_large_least_squares_problem():
    outputs, sources, _ = planted(noise=3.0)
    num_prompts, num_sources, num_dims = sources.shape
    columns = np.moveaxis(sources, 1, -1).reshape(-1, num_sources)
    constants = np.tile(np.eye(num_dims), (num_prompts, 1))
    solved, *_ = np.linalg.lstsq(np.hstack([columns, constants]), outputs.ravel(), rcond=None)
    fitted = Reweighting.of(outputs, sources, ridge=1e-12)
    np.testing.assert_allclose(np.concatenate([fitted.weights, fitted.intercept]), solved, atol=1e-8)


def test_the_condition_number_is_that_of_the_scaled_deviations():
    _, sources, _ = planted()
    moved = np.moveaxis(sources - sources.mean(axis=0), 1, -1).reshape(-1, 4)
    expected = np.linalg.cond(moved / np.linalg.norm(moved, axis=0))
    assert Reweighting.of(sources[:, 0], sources).condition_number == pytest.approx(expected)
    sources[:, 1] *= 1000  # the size of a source does not make it collinear
    assert Reweighting.of(sources[:, 0], sources).condition_number == pytest.approx(expected)


def test_collinear_sources_are_told_and_what_they_make_together_is_still_right():
    outputs, sources, _ = planted()
    twice = np.concatenate([sources, sources[:, :1] + 1e-4 * np.random.default_rng(1).normal(size=(40, 1, 16))], axis=1)
    fitted = Reweighting.of(outputs, twice, ridge=1e-3)
    assert fitted.condition_number > COLLINEAR
    assert fitted.weights[0] + fitted.weights[4] == pytest.approx(-1, abs=0.01)
    assert abs(fitted.weights[0]) < 1  # the ridge shares the weight out
    exactly = Reweighting.of(outputs, np.concatenate([sources, sources[:, :1]], axis=1))
    assert exactly.condition_number > 1e6


def test_a_source_that_does_not_vary_is_part_of_the_intercept():
    outputs, sources, intercept = planted()
    constant = np.concatenate([sources, np.full((40, 1, 16), 7.0)], axis=1)
    fitted = Reweighting.of(outputs, constant)
    np.testing.assert_allclose(fitted.weights, [*WEIGHTS, 0], atol=1e-4)
    np.testing.assert_allclose(fitted.intercept, intercept, atol=1e-3)


def test_nothing_is_explained_where_prompts_are_scrambled():
    outputs, sources, _ = planted(num_prompts=400)
    groups = np.repeat(np.arange(100), 4)
    shuffled = np.random.default_rng(2).permutation(400)
    assert explained(outputs, sources[shuffled], groups) == pytest.approx(0, abs=0.01)
    assert explained(outputs, sources, groups) > 0.999


def test_noise_lowers_what_is_explained_by_its_share():
    outputs, sources, _ = planted(noise=2.0, num_prompts=400)
    signal = (WEIGHTS**2).sum()
    assert explained(outputs, sources, np.repeat(np.arange(100), 4)) == pytest.approx(signal / (signal + 4), abs=0.02)


def test_a_group_is_predicted_without_having_been_seen():
    outputs, sources, _ = planted(noise=1.0)
    held_out = hold_out(outputs, sources, GROUPS)
    for group in (0, 7):
        own = group == GROUPS
        fitted = Reweighting.of(outputs[~own], sources[~own])
        np.testing.assert_allclose(held_out.predicted[own], fitted.predict(sources[own]))
        np.testing.assert_allclose(held_out.means[own], np.tile(outputs[~own].mean(axis=0), (4, 1)))
        np.testing.assert_allclose(held_out.intercepts[own], np.tile(fitted.intercept, (4, 1)))
        np.testing.assert_allclose(held_out.weights[group], fitted.weights)


def test_errors_are_those_of_each_group():
    outputs, sources, _ = planted(noise=1.0)
    held_out = hold_out(outputs, sources, GROUPS)
    errors = squared_errors(outputs, held_out.predicted, held_out.means, GROUPS)
    assert errors.shape == (10, 2)
    assert errors[3, 0] == pytest.approx(((outputs - held_out.predicted)[12:16] ** 2).sum())
    assert errors[:, 1].sum() == pytest.approx(((outputs - held_out.means) ** 2).sum())
    assert math.isnan(r2_score(np.zeros((3, 2))))


def test_the_jackknifes_interval_holds_the_planted_weight_as_often_as_it_says():
    hits = []
    for seed in range(60):
        outputs, sources, _ = planted(noise=4.0, seed=seed)
        margin = jackknife_margin(hold_out(outputs, sources, GROUPS).weights)
        hits.append(np.abs(Reweighting.of(outputs, sources).weights - WEIGHTS) <= margin)
    assert 0.88 < np.mean(hits) <= 1.0


def test_the_jackknife_of_means_is_students_standard_error():
    values = np.random.default_rng(0).normal(size=20)
    left_out = (values.sum() - values) / 19
    margin = jackknife_margin(left_out[:, None])
    assert margin[0] == pytest.approx(2.093024 * values.std(ddof=1) / np.sqrt(20), rel=1e-5)


def test_cosines_are_numpys():
    rng = np.random.default_rng(0)
    ones, others = rng.normal(size=(2, 5, 8))
    expected = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(ones, others, strict=True)]
    np.testing.assert_allclose(cosines(ones, others), expected)


def test_too_little_is_refused():
    outputs, sources, _ = planted()
    with pytest.raises(UserError, match="two prompts at least"):
        Reweighting.of(outputs[:1], sources[:1])
    with pytest.raises(UserError, match="ridge above 0"):
        Reweighting.of(outputs, sources, ridge=0)
    with pytest.raises(UserError, match="three groups"):
        hold_out(outputs, sources, GROUPS % 2)
