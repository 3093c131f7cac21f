import pytest
import torch
from torch import nn
from torch.func import functional_call

from dimscope.core.errors import UserError
from dimscope.models.catalogue import ModelSource
from dimscope.models.load import load
from dimscope.training.settings import TrainingSettings
from dimscope.training.subspace import Subspace, SubspaceSettings

BATCH = {
    "input_ids": torch.tensor([[5, 6, 7, 8], [8, 9, 10, 11]]),
    "attention_mask": torch.ones(2, 4, dtype=torch.int64),
}
LABELS = torch.tensor([0, 2])
SETTINGS = TrainingSettings(learning_rate=1e-2, weight_decay=0.0)


@pytest.fixture
def network(tiny_folder):
    return fresh(tiny_folder)


def fresh(tiny_folder, family="bert"):
    return load(ModelSource(family, "folder", str(tiny_folder(family))), num_labels=3, seed=5)


def settings(**changed):
    return SubspaceSettings(**{"num_trained": 60, **changed})


def moved_names(network, before):
    return {name for name, tensor in network.model.state_dict().items() if not torch.equal(tensor, before[name])}


def snapshot(network):
    return {name: tensor.clone() for name, tensor in network.model.state_dict().items()}


def explicit_map(subspace):
    """P z for every moved tensor, by the matrix that unit vectors show."""
    rows = []
    for unit in torch.eye(len(subspace.z)):
        pieces = sorted((tensor, start, values.clone()) for tensor, start, values in subspace.projection.apply(unit))
        rows.append(torch.cat([values for *_, values in pieces]))
    matrix = torch.stack(rows, dim=1)
    sizes = [parameter.numel() for parameter in subspace.moved.values()]
    return lambda z: (matrix @ z).split(sizes)


@pytest.mark.parametrize("kind", ["one_hot", "fastfood_whole", "sparse"])
@pytest.mark.parametrize("structure_aware", [False, True])
def test_training_is_that_of_autograd_through_the_explicit_map(kind, structure_aware, network, tiny_folder):
    subspace = Subspace(network, settings(projection=kind, structure_aware=structure_aware), seed=1)
    oracle = fresh(tiny_folder)
    starts = {name: parameter.detach() for name, parameter in oracle.model.named_parameters()}
    modules = list(dict.fromkeys(name.rpartition(".")[0] for name in starts))
    assert len(subspace.factors) == (len(modules) if structure_aware else 0)
    z = torch.zeros(len(subspace.z), requires_grad=True)
    factors = torch.ones(len(modules), requires_grad=structure_aware)
    spread = explicit_map(subspace)

    def moved():
        shifts = zip(starts, spread(z), strict=True)
        return {
            name: starts[name] + factors[modules.index(name.rpartition(".")[0])] * shift.view(starts[name].shape)
            for name, shift in shifts
        }

    ours = subspace.optimizer(network, SETTINGS)
    theirs = torch.optim.AdamW([z, factors] if structure_aware else [z], lr=1e-2, weight_decay=0.0)
    for _ in range(4):
        loss = nn.functional.cross_entropy(network.model(**BATCH).logits, LABELS)
        loss.backward()
        ours.step()
        ours.zero_grad()
        expected = nn.functional.cross_entropy(functional_call(oracle.model, moved(), kwargs=BATCH).logits, LABELS)
        theirs.zero_grad()
        expected.backward()
        theirs.step()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    torch.testing.assert_close(subspace.z.detach(), z.detach(), rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(
        subspace.factors.detach(), factors.detach()[: len(subspace.factors)], rtol=1e-3, atol=1e-4
    )


def test_at_first_nothing_has_moved(network):
    before = snapshot(network)
    Subspace(network, settings(), seed=1).place()
    assert moved_names(network, before) == set()


def test_the_optimizers_state_is_that_of_the_trained_numbers(network):
    optimizer = Subspace(network, settings(), seed=1).optimizer(network, SETTINGS)
    nn.functional.cross_entropy(network.model(**BATCH).logits, LABELS).backward()
    optimizer.step()
    held = sum(each.numel() for state in optimizer.state.values() for each in state.values())
    assert held == 2 * 60 + 1
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in network.model.parameters())


@pytest.mark.parametrize(
    ("moved", "inside", "outside"),
    [
        ("all", ["embeddings.word", "intermediate", "attention.self.query"], []),
        ("without_embeddings", ["intermediate", "embeddings.LayerNorm"], ["embeddings.word", "embeddings.position"]),
        ("attention", ["attention.self.query", "attention.output.dense"], ["intermediate", "embeddings"]),
        ("*layer.1.*query*", ["layer.1.attention.self.query.weight"], ["layer.0", "value", "embeddings"]),
    ],
)
def test_what_moves_is_what_was_asked_for_and_the_head(network, moved, inside, outside):
    before = snapshot(network)
    subspace = Subspace(network, settings(moved=moved), seed=1)
    subspace.z.data.fill_(1.0)
    subspace.place()
    changed = moved_names(network, before)
    assert {"classifier.weight", "classifier.bias"} <= changed == set(subspace.moved)
    assert all(any(part in name for name in changed) for part in inside)
    assert not any(part in name for name in changed for part in outside)
    frozen = {name for name, parameter in network.model.named_parameters() if not parameter.requires_grad}
    assert frozen == set(dict(network.model.named_parameters())) - changed


@pytest.mark.parametrize("family", ["gpt2", "llama", "pythia-70m", "distilbert", "albert", "roberta"])
def test_attention_is_found_in_other_families(tiny_folder, family):
    network = fresh(tiny_folder, family)
    chosen = Subspace(network, settings(moved="attention"), seed=1).moved
    weights = [name for name in chosen if network.model.base_model_prefix in name]
    assert weights
    assert all("att" in name for name in weights)
    assert not any("input_layernorm" in name or "post_attention" in name for name in weights)


def test_a_head_apart_is_trained_fully_and_uncounted(network):
    subspace = Subspace(network, settings(head="apart"), seed=1)
    assert set(subspace.apart) == {"classifier.weight", "classifier.bias"}
    assert not set(subspace.moved) & set(subspace.apart)
    before = snapshot(network)
    optimizer = subspace.optimizer(network, SETTINGS)
    nn.functional.cross_entropy(network.model(**BATCH).logits, LABELS).backward()
    optimizer.step()
    step = network.model.state_dict()["classifier.weight"] - before["classifier.weight"]
    torch.testing.assert_close(step.abs(), torch.full_like(step, 1e-2), rtol=1e-2, atol=0)


def test_tied_weights_move_under_both_names(network):
    first, second = (layer.output.dense for layer in network.model.base_model.encoder.layer)
    second.weight = first.weight
    before = first.weight.detach().clone()
    subspace = Subspace(network, settings(moved="*layer.1.output.dense.weight"), seed=1)
    assert sum(name.startswith("bert") for name in subspace.moved) == 1
    subspace.z.data.fill_(1.0)
    subspace.place()
    state = network.model.state_dict()
    assert not torch.equal(state["bert.encoder.layer.0.output.dense.weight"], before)
    assert torch.equal(
        state["bert.encoder.layer.0.output.dense.weight"], state["bert.encoder.layer.1.output.dense.weight"]
    )


@pytest.mark.parametrize("structure_aware", [False, True])
def test_ten_constraints_are_met_by_training_ten_numbers_and_not_nine(structure_aware, ten_constraints):
    """Li et al. 2018, section 2; how well it does is exp(-loss), 1 at best."""
    performance = {}
    for d in (9, 10):
        chosen = settings(num_trained=d + structure_aware, projection="dense", structure_aware=structure_aware)
        performance[d] = ten_constraints(chosen, 1500)
    assert performance[10] > 0.99
    assert performance[9] < 0.9


def test_z_decays_to_the_start(network):
    subspace = Subspace(network, settings(), seed=1)
    subspace.z.data.fill_(1.0)
    optimizer = subspace.optimizer(network, TrainingSettings(learning_rate=0.1, weight_decay=5.0))
    for parameter in network.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(subspace.z.detach(), torch.full_like(subspace.z, 0.5))


def test_a_name_that_is_none_is_told(network):
    with pytest.raises(UserError, match=r"no parameter is called 'atention': wanted all, .* names such as"):
        Subspace(network, settings(moved="atention"), seed=1)


def test_factors_must_leave_something_for_z(network):
    with pytest.raises(UserError, match=r"(\d+) modules move.* more than \1, got 20"):
        Subspace(network, settings(structure_aware=True, num_trained=20), seed=1)


def test_more_numbers_than_parameters_are_refused(network):
    with pytest.raises(UserError, match="cannot be moved by 100,000,000 trained numbers"):
        Subspace(network, settings(num_trained=10**8), seed=1)
