import numpy as np
import pytest

from dimscope.core.errors import UserError
from dimscope.scoring.snapshot import Half, arrays, snapshot


@pytest.fixture
def half():
    """Give halves whose dimension 17 varies 25 times as much as the 59 others and whose label is its sign."""
    rng = np.random.default_rng(0)

    def make(loud=17):
        states = rng.normal(size=(800, 60)).astype(np.float32)
        states[:, loud] *= 5
        labels = (states[:, loud] > 0).astype(np.int64)
        return Half(states, np.eye(2)[1 - labels], labels)

    return make


def test_the_planted_dimension_is_found(half):
    numbers = snapshot(30, half(), half(), factor=5.0).numbers
    values = {(number.name, number.where.get("classifier")): number.value for number in numbers}
    assert values["num_outlier_dims", None] == 1
    assert values["principal_dim", None] == 17
    assert values["principal_variance_ratio", None] == pytest.approx(25 / (84 / 60), rel=0.1)
    assert values["accuracy", "principal dimension"] > 0.98
    assert values["accuracy", "full model"] == 0  # its logits are planted to be wrong every time
    assert {number.where["step"] for number in numbers} == {30}


def test_steps_stand_side_by_side(half):
    rows = arrays([snapshot(step, half(loud), half(loud), factor=5.0) for step, loud in ((0, 17), (50, 4))])
    assert rows["step"].values.tolist() == [0, 50]
    assert np.argwhere(rows["is_outlier"].values).tolist() == [[0, 17], [1, 4]]
    assert rows["variance"].values.argmax(axis=1).tolist() == [17, 4]


def test_states_that_are_not_finite_are_refused(half):
    broken = half()
    broken.states[3, 8] = np.nan
    with pytest.raises(UserError, match="dimension 8"):
        snapshot(0, half(), broken, factor=5.0)
