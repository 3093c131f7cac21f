import numpy as np
import pytest

from dimscope.methods.measure.isotropy import Isotropy

ALL = {"dims": "all", "states": "measured"}
BUT_OUTLIERS = {"dims": "all but outliers", "states": "measured"}


def test_planted_outliers_cost_isotropy_and_without_them_it_is_there(planted):
    result = Isotropy().run(planted())
    assert result.value("num_outlier_dims") == 3
    # (r − 1) / (n − 1) with the participation ratio r of three variances 25 and 57 of 1.
    ratio = 132**2 / (3 * 625 + 57)
    assert result.value("iso_score", **ALL) == pytest.approx((ratio - 1) / 59, rel=0.06)
    # Of n equal variances over m sentences, r is n / (1 + n / m).
    assert result.value("iso_score", **BUT_OUTLIERS) == pytest.approx((57 / (1 + 57 / 3000) - 1) / 56, rel=0.01)
    assert result.value("partition_score", **ALL) < 0.01 < result.value("partition_score", **BUT_OUTLIERS)


def test_the_control_is_what_isotropic_states_have(planted):
    result = Isotropy().run(planted(loud=()))
    for name, tolerance in {"iso_score": 0.01, "mean_cosine": 0.001, "log_partition_score": 0.1}.items():
        measured = result.number(name, **ALL)
        control = result.number(name, dims="all", states="isotropic Gaussian")
        assert measured.value == pytest.approx(control.value, abs=tolerance)
        assert measured.interval[0] < measured.value < measured.interval[1]


def test_without_outliers_nothing_is_left_out(planted):
    result = Isotropy().run(planted(loud=()))
    assert result.value("num_outlier_dims") == 0
    for name in ("iso_score", "mean_cosine", "log_partition_score"):
        assert result.value(name, **ALL) == result.value(name, **BUT_OUTLIERS)


def test_a_common_direction_is_seen_by_cosine_and_partition_score_and_not_by_iso_score(planted):
    bench = planted(loud=())
    before = Isotropy().run(bench)
    bench._states["train"][:, 8] += 20
    after = Isotropy().run(bench)
    assert before.value("mean_cosine", **ALL) == pytest.approx(0, abs=0.01)
    assert after.value("mean_cosine", **ALL) == pytest.approx(400 / 460, abs=0.01)
    assert after.value("iso_score", **ALL) == pytest.approx(before.value("iso_score", **ALL), rel=1e-4)
    assert after.value("log_partition_score", **ALL) < -20


def test_the_partition_score_is_that_of_its_logarithm(planted):
    result = Isotropy(sites=("layers.*.out",)).run(planted())
    for number in result.numbers:
        if number.name == "partition_score":
            logarithm = result.number("log_partition_score", **number.where)
            assert number.value == pytest.approx(np.exp(logarithm.value))
            assert number.interval == pytest.approx(tuple(np.exp(logarithm.interval)))


def test_the_interval_of_a_perfect_partition_score_ends_at_1(planted):
    bench = planted()
    bench._states["train"] = np.tile(np.concatenate([np.eye(4), -np.eye(4)]), (10, 1))
    number = Isotropy().run(bench).number("partition_score", **ALL)
    assert number.value == pytest.approx(1)
    assert number.interval[0] < 1 == number.interval[1]
