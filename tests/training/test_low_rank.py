import pytest
import torch

from dimscope.core.errors import UserError
from dimscope.models.catalogue import ModelSource
from dimscope.models.classify import classify
from dimscope.models.direct import classifying
from dimscope.models.load import load
from dimscope.training import low_rank
from dimscope.training.low_rank import LowRank, LowRankSettings

peft = pytest.importorskip("peft")

TEXTS = ["a good film", "bad", "so very very bad a film", "not good"]


@pytest.fixture
def fresh(tiny_folder):
    return lambda family="bert", seed=5: load(ModelSource(family, "folder", str(tiny_folder(family))), 3, seed=seed)


@pytest.fixture
def moved(fresh):
    """Give adapters that have numbers drawn at random, with the network that they are in."""

    def make(family="bert", **settings):
        network = fresh(family)
        adapted = LowRank(network, LowRankSettings(**settings), seed=1)
        generator = torch.Generator().manual_seed(0)
        adapted.set_state(
            {name: each + 0.1 * torch.randn(each.shape, generator=generator) for name, each in adapted.state().items()}
        )
        return network, adapted

    return make


def logits(network, forward=classify):
    batch = network.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return forward(network, batch)


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "gpt2", "llama"])
@pytest.mark.parametrize("head", ["trained", "frozen"])
def test_the_merged_network_is_that_with_adapters_and_what_peft_opens(family, head, fresh, moved, tmp_path):
    network, adapted = moved(family, rank=2, alpha=3.0, targets="all", head=head)
    merged = adapted.merged()
    expected = logits(network)
    torch.testing.assert_close(logits(merged), expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(expected, logits(fresh(family)), atol=1e-2)
    assert set(merged.model.state_dict()) == set(fresh(family).model.state_dict())
    adapted.save(tmp_path / "adapter")
    base = fresh(family)
    peft.PeftModel.from_pretrained(base.model, tmp_path / "adapter")
    torch.testing.assert_close(logits(base), expected, atol=1e-6, rtol=1e-6)


def test_the_fastest_way_to_logits_sees_the_adapters(moved):
    network, _ = moved()
    torch.testing.assert_close(logits(network, lambda network, batch: classifying(network)(batch)), logits(network))


def test_what_is_added_is_the_products_of_its_factors(fresh, moved):
    """α / r · B A, by hand, for every map; the rest is the base's to the last bit."""
    _, adapted = moved(rank=2, alpha=6.0, targets="*query*", head="frozen")
    state = adapted.state()
    before, after = fresh().model.state_dict(), adapted.merged().model.state_dict()
    for name, tensor in before.items():
        part = name.removesuffix(".weight")
        if f"{part}.lora_A.default.weight" in state:
            added = 3.0 * state[f"{part}.lora_B.default.weight"] @ state[f"{part}.lora_A.default.weight"]
            torch.testing.assert_close(after[name], tensor + added)
        else:
            assert torch.equal(after[name], tensor)
    assert len(state) == 2 * 2


@pytest.mark.parametrize(
    ("targets", "shapes"),
    [
        ("*query*", [(32, 32)] * 2),
        ("attention", [(32, 32)] * 8),
        ("last_layer", [(32, 32)] * 4 + [(32, 64)] * 2),
        ("all", [(32, 32)] * 8 + [(32, 64)] * 4 + [(32, 32)]),  # with the pooler
    ],
)
@pytest.mark.parametrize("head", ["trained", "frozen"])
def test_the_counts_are_the_closed_form(targets, shapes, head, moved):
    _, adapted = moved(rank=3, targets=targets, head=head)
    num_head = (32 * 3 + 3) * (head == "trained")
    assert adapted.num_trained_head == num_head
    assert adapted.num_trained == sum(3 * (inputs + outputs) for inputs, outputs in shapes) + num_head


def test_at_first_nothing_is_added_and_the_seed_makes_the_rest(fresh):
    rng = torch.get_rng_state()
    networks = [fresh() for _ in range(3)]
    states = [
        LowRank(network, LowRankSettings(), seed).state() for network, seed in zip(networks, (1, 1, 2), strict=True)
    ]
    assert torch.equal(rng, torch.get_rng_state())
    torch.testing.assert_close(logits(networks[0]), logits(fresh()))
    first, again, other = (torch.cat([each.flatten() for each in state.values()]) for state in states)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_map_that_is_none_is_told(fresh):
    with pytest.raises(UserError, match=r"no linear map of the base is among 'biases': wanted all, attention"):
        LowRank(fresh(), LowRankSettings(targets="biases"), seed=1)
    with pytest.raises(UserError, match="no parameter is called 'querry'"):
        LowRank(fresh(), LowRankSettings(targets="querry"), seed=1)


def test_without_peft_the_way_to_it_is_told(fresh, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(low_rank, "import_module", absent)
    with pytest.raises(UserError, match=r"pip install 'dimscope\[lora\]'"):
        LowRank(fresh(), LowRankSettings(), seed=1)
