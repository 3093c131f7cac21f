import pytest
from pydantic import ValidationError

from dimscope.core.errors import UnknownName, explain
from dimscope.training.settings import TrainingSettings


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("minlm", ["minilm", "smollm2"], "minilm"),
        ("sst2", ["glue/sst2", "movie_reviews"], "glue/sst2"),
        ("outlier-dimensions", ["measure/outlier_dimensions"], "measure/outlier_dimensions"),
        ("MINILM", ["minilm"], "minilm"),
    ],
)
def test_the_nearest_name_is_offered(name, known, meant):
    assert f"Did you mean {meant!r}" in str(UnknownName("thing", name, known))


def test_nothing_is_offered_where_nothing_is_near():
    message = str(UnknownName("model", "zzz", ["minilm"]))
    assert "Did you mean" not in message
    assert "minilm" in message


def test_a_setting_out_of_range_is_told_in_one_line():
    with pytest.raises(ValidationError) as caught:
        TrainingSettings(epochs=0, learning_rate=-1)
    message = explain(caught.value)
    assert "epochs: Input should be greater than or equal to 1, got 0" in message
    assert "learning_rate" in message
    assert "\n" not in message
