"""The promise of each role, checked for every method that there is."""

import pytest
import torch
from pydantic import ValidationError

from dimscope.bench import Bench
from dimscope.discovery import find_method, methods
from dimscope.running import run

SMALL = {
    "finetune/full": {"epochs": 10, "learning_rate": 2e-3, "batch_size": 8, "precision": "float32"},
    "finetune/random_subspace": {"epochs": 6, "learning_rate": 0.1, "batch_size": 8, "precision": "float32"},
    "intervene/ablate_dimensions": {"num_draws": 1, "num_layer_draws": 1, "max_layer_sentences": 8},
    "measure/one_dimension": {"num_random_directions": 2, "num_label_permutations": 2, "num_permutations": 99},
}
"""Settings that make a method quick; a method that is quick by itself needs none."""


@pytest.fixture(scope="module")
def tuned(tiny_folder, reviews, tmp_path_factory):
    bench = Bench(str(tiny_folder("bert")), reviews, out=tmp_path_factory.mktemp("contract"))
    return bench.finetuned(run("finetune/full", bench, **SMALL["finetune/full"]).checkpoint)


def of_role(*roles):
    return [name for name in methods() if name.split("/")[0] in roles]


def method(name):
    return find_method(name)(**SMALL.get(name, {}))


@pytest.mark.parametrize("name", of_role("measure", "locate", "intervene"))
def test_what_only_looks_leaves_everything_as_it_was(name, tuned):
    model = tuned.network.model
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    rng = torch.get_rng_state()
    method(name).run(tuned)
    assert not model.training
    assert torch.equal(rng, torch.get_rng_state())
    assert all(torch.equal(tensor, weights[key]) for key, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", of_role("finetune"))
def test_fine_tuning_lowers_the_loss_and_leaves_the_base_alone(name, tuned):
    base = tuned.pretrained
    weights = {key: tensor.clone() for key, tensor in base.network.model.state_dict().items()}
    result = method(name).run(base)
    assert result.value("last_loss") < result.value("first_loss")
    assert base.store.checkpoint(result.checkpoint).exists()
    assert all(torch.equal(tensor, weights[key]) for key, tensor in base.network.model.state_dict().items())


@pytest.mark.parametrize("name", methods())
def test_the_result_is_whole(name, tuned):
    bench = tuned.pretrained if name.startswith("finetune/") else tuned
    result = run(method(name), bench)
    assert result.method == name
    assert result.numbers
    assert {"model", "task", "seed", "weights"} <= set(result.numbers[0].where)
    places = [(number.name, tuple(sorted(number.where.items()))) for number in result.numbers]
    assert len(set(places)) == len(places), "two numbers stand at one place"
    assert result.provenance["versions"]["dimscope"]


@pytest.mark.parametrize("name", methods())
def test_the_same_words_give_the_same_numbers(name, tuned):
    bench = tuned.pretrained if name.startswith("finetune/") else tuned
    first, second = (method(name).resolved(bench).run(bench) for _ in range(2))
    assert [(each.name, repr(each.value)) for each in first.numbers] == [
        (each.name, repr(each.value)) for each in second.numbers
    ]


@pytest.mark.parametrize("name", methods())
def test_settings_are_frozen_and_know_their_names(name):
    with pytest.raises(ValidationError):
        find_method(name)(no_such_setting=1)
    made = find_method(name)()
    with pytest.raises(ValidationError):
        made.split = "other"
