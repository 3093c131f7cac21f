"""The promise of each role, checked for every method that there is."""

from functools import cache

import pytest
import torch
from pydantic import ValidationError

from dimscope.bench import Bench
from dimscope.discovery import find_method, methods
from dimscope.models.size import size
from dimscope.running import run

SMALL = {
    "finetune/full": {"epochs": 10, "learning_rate": 2e-3, "batch_size": 8, "precision": "float32"},
    "build/prompt_model": {"steps": 2, "num_layers": 1, "num_heads": 2, "hidden_size": 16, "batch_size": 8},
    "build/pretrain": {"steps": 3, "num_layers": 1, "hidden_size": 32, "vocabulary": 300, "keep_at": (0,)},
    "finetune/lora": {"epochs": 10, "learning_rate": 1e-2, "batch_size": 8, "precision": "float32"},
    "finetune/random_subspace": {"epochs": 10, "learning_rate": 0.1, "batch_size": 8, "precision": "float32"},
    "intervene/block_heads": {"heads": ("1.2",), "num_draws": 1},
    "intervene/force_attention": {
        "heads": ("1.2",),
        "toward": ("answer", "other"),
        "watched": ("1.0",),
        "num_draws": 1,
    },
    "intervene/steer": {"doses": (0.0, 1.0), "num_random": 1},
    "intervene/ablate_dimensions": {"num_draws": 1, "num_layer_draws": 1, "max_layer_sentences": 8},
    "locate/activation_patching": {"taken": "all"},
    "locate/attribution_patching": {"taken": "all"},
    "locate/direct_logit_attribution": {"taken": "all"},
    "locate/head_ablation": {"taken": "all"},
    "locate/head_forcing": {"taken": "all", "toward": ("answer", "other")},
    "locate/head_reweighting": {"taken": "all"},
    "locate/logit_lens": {"taken": "all"},
    "locate/path_patching": {"taken": "all"},
    "measure/intrinsic_dimension": {
        "epochs": 1,
        "full_epochs": 1,
        "smallest": 50,
        "largest": 100,
        "learning_rates": (0.1,),
        "full_learning_rates": (1e-3,),
        "num_seeds": 1,
        "bracket_ratio": 2,
        "precision": "float32",
    },
    "measure/last_layer": {"taken": "all", "num_resamples": 99},
    "measure/one_dimension": {"num_random_directions": 2, "num_label_permutations": 2, "num_permutations": 99},
}
"""Settings that make a method quick; a method that is quick by itself needs none."""
DECODERS = (
    "build/prompt_model",
    "intervene/block_heads",
    "intervene/force_attention",
    "locate/direct_logit_attribution",
    "locate/head_forcing",
    "locate/head_reweighting",
    "locate/logit_lens",
    "locate/path_patching",
    "measure/last_layer",
)
"""Methods that want a decoder."""
TUNED_BY = {"measure/compression_bound": "finetune/random_subspace"}
"""What made the checkpoint that a method looks at, if not full fine-tuning."""


@pytest.fixture(scope="module")
def base(tiny_folder, reviews, tmp_path_factory):
    return Bench(str(tiny_folder("bert")), reviews, out=tmp_path_factory.mktemp("contract"))


@pytest.fixture(scope="module")
def bench_of(base, tiny_folder):
    """Give the bench that a method runs on: those that train start from the base, some want a language model."""

    @cache
    def tuned(by):
        return base.finetuned(run(by, base, **SMALL[by]).checkpoint)

    decoder = Bench(str(tiny_folder("llama")), "prompts/induction", limit=8, out=base.store.root)

    def bench(name):
        if name in DECODERS:
            return decoder
        return base if name in of_role("finetune", "build") else tuned(TUNED_BY.get(name, "finetune/full"))

    return bench


def of_role(*roles):
    return [name for name in methods() if name.split("/")[0] in roles]


def method(name):
    return find_method(name)(**SMALL.get(name, {}))


@pytest.mark.parametrize("name", of_role("measure", "locate", "intervene"))
def test_what_only_looks_leaves_everything_as_it_was(name, bench_of):
    tuned = bench_of(name)
    model = tuned.network.model
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    rng = torch.get_rng_state()
    method(name).run(tuned)
    assert not model.training
    assert torch.equal(rng, torch.get_rng_state())
    assert all(torch.equal(tensor, weights[key]) for key, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", of_role("finetune"))
def test_fine_tuning_lowers_the_loss_and_leaves_the_base_alone(name, base):
    weights = {key: tensor.clone() for key, tensor in base.network.model.state_dict().items()}
    result = method(name).run(base)
    assert result.value("last_loss") < result.value("first_loss")
    assert base.store.checkpoint(result.checkpoint).exists()
    assert all(torch.equal(tensor, weights[key]) for key, tensor in base.network.model.state_dict().items())


@pytest.mark.parametrize("name", of_role("build"))
def test_what_is_built_has_as_many_parameters_as_it_says_and_opens(name, base, bench_of):
    result = run(method(name), bench_of(name))
    told = sum(number.value for number in result.numbers if number.name == "num_parameters")
    folders = [config.parent for config in base.store.checkpoint(result.checkpoint).rglob("config.json")]
    assert folders
    for folder in folders:
        assert size(folder).num_parameters == told
        assert Bench(str(folder), base.task, out=base.store.root).states("validation").any()


@pytest.mark.parametrize("name", methods())
def test_the_result_is_whole(name, bench_of):
    result = run(method(name), bench_of(name))
    assert result.method == name
    assert result.numbers
    assert {"model", "task", "seed", "weights"} <= set(result.numbers[0].where)
    places = [(number.name, tuple(sorted(number.where.items()))) for number in result.numbers]
    assert len(set(places)) == len(places), "two numbers stand at one place"
    assert result.provenance["versions"]["dimscope"]


@pytest.mark.parametrize("name", methods())
def test_the_same_words_give_the_same_numbers(name, bench_of):
    bench = bench_of(name)
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
