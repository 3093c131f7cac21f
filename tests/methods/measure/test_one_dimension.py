import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score

from dimscope.methods.measure.one_dimension import OneDimension


def accuracy(result, classifier, rule="exact"):
    where = {"rule": rule} if rule else {}
    return result.value("accuracy", classifier=classifier, **where)


def test_the_principal_dimension_reaches_bayes_where_the_label_is_its_sign(planted):
    # Noise as large as the signal: Bayes' accuracy is 1/2 + atan(1) / pi = 3/4.
    result = OneDimension().run(planted(loud=(17,), noise=1.0))
    assert result.value("dim", classifier="principal dimension", rule="exact") == 17
    assert accuracy(result, "principal dimension") == pytest.approx(0.75, abs=0.03)
    assert accuracy(result, "full model", rule=None) == 1


def test_a_label_in_a_quiet_dimension_is_found_there_and_not_in_the_loud_one(planted):
    bench = planted(label_dim=5, loud=(17,))
    result = OneDimension().run(bench)
    assert result.value("dim", classifier="principal dimension", rule="exact") == 17
    majority = accuracy(result, "majority class", rule=None)
    assert accuracy(result, "principal dimension") == pytest.approx(majority, abs=0.05)
    assert result.value("dim", classifier="best dimension", rule="exact") == 5
    assert accuracy(result, "best dimension") > 0.98
    assert result.arrays["accuracy"].values[0].argmax() == 5


def test_the_controls_bracket_the_claim(planted):
    result = OneDimension().run(planted(label_dim=5, loud=(17,)))
    assert accuracy(result, "best linear direction") > 0.95
    assert accuracy(result, "first principal component") < 0.6
    assert accuracy(result, "random direction") < 0.65
    assert accuracy(result, "permuted labels") == pytest.approx(0.5, abs=0.03)
    low, high = result.number("accuracy", classifier="random direction").interval
    assert low < accuracy(result, "random direction") < high


def test_the_grid_rule_is_the_papers_arithmetic_written_out(planted):
    bench = planted(label_dim=5, loud=(17,), noise=0.5)
    scaled = {split: states * 0.2 for split, states in bench._states.items()}
    bench._states = scaled
    result = OneDimension(num_random_directions=1, num_label_permutations=1).run(bench)
    expected = []
    for dim in (5, 17, 30):
        train, held_out = (scaled[split][:, dim].astype(np.float64) for split in ("train", "validation"))
        best = -1.0
        for epsilon in np.arange(-50, 50.5, 0.5):
            right = accuracy_score(bench.labels("train"), (train > train.mean() + epsilon).astype(int))
            if max(right, 1 - right) > best:
                best, rule = max(right, 1 - right), (train.mean() + epsilon, 1 - right > right)
        predicted = (held_out > rule[0]).astype(int) ^ int(rule[1])
        expected.append(accuracy_score(bench.labels("validation"), predicted))
    np.testing.assert_allclose(result.arrays["accuracy"].values[1][[5, 17, 30]], expected)


def test_the_correlation_is_spearmans(planted):
    result = OneDimension().run(planted())
    variance, by_rule = result.arrays["variance"].values, result.arrays["accuracy"].values
    for rule, accuracies in zip(("exact", "grid"), by_rule, strict=True):
        expected = stats.spearmanr(variance, accuracies).statistic
        assert result.value("variance_accuracy_correlation", rule=rule) == pytest.approx(expected)
        assert 0 < result.value("variance_accuracy_p_value", rule=rule) <= 1


def test_counts_of_dimensions_that_do_as_well(planted):
    result = OneDimension().run(planted(label_dim=5, loud=(17,)))
    by_dim = result.arrays["accuracy"].values[0]
    assert result.value("num_dims_as_good_as_principal") == (by_dim >= by_dim[17]).sum() - 1
    assert result.value("num_dims_as_good_as_full_model") == (by_dim >= 1.0).sum()


def test_without_a_checkpoint_there_is_no_full_model(planted):
    result = OneDimension().run(planted(tuned=False))
    assert "full model" not in {number.where.get("classifier") for number in result.numbers}


def test_three_classes_are_told_apart_by_two_thresholds(planted):
    bench = planted(loud=(17,))
    bench.label_names = ("low", "middle", "high")
    for split, states in bench._states.items():
        bench._labels[split] = np.digitize(states[:, 17], [-3.0, 3.0])
        bench._logits[split] = np.eye(3, dtype=np.float32)[bench._labels[split]]
    result = OneDimension(num_random_directions=2, num_label_permutations=2).run(bench)
    assert accuracy(result, "principal dimension") > 0.99
    assert result.arrays["accuracy"].ticks["rule"] == ["exact"]
    assert "two classes" in result.notes[0]


def test_the_same_bench_gives_the_same_numbers(planted):
    first, second = (OneDimension().run(planted()) for _ in range(2))
    assert [each.value for each in first.numbers] == [each.value for each in second.numbers]
