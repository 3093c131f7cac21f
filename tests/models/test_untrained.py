import pytest
import torch

from dimscope.models.untrained import untrained


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "roberta"])
def test_weights_are_those_of_the_initializer_and_the_seed(family, tiny_network):
    network = tiny_network(family)
    before = {name: tensor.clone() for name, tensor in network.model.state_dict().items()}
    rng = torch.get_rng_state()
    first, again, other = (untrained(network, seed) for seed in (1, 1, 2))
    assert torch.equal(rng, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.model.state_dict().items())
    states = [each.model.state_dict() for each in (first, again, other)]
    assert {name: tensor.shape for name, tensor in states[0].items()} == {n: t.shape for n, t in before.items()}
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    drawn = [name for name, tensor in states[0].items() if not torch.equal(tensor, before[name])]
    assert any("layer" in name or ".h." in name for name in drawn)
    assert all(not torch.equal(states[0][name], states[2][name]) for name in drawn)
    matrix = max((states[0][name] for name in drawn), key=torch.Tensor.numel)
    assert matrix.std().item() == pytest.approx(network.model.config.initializer_range, rel=0.1)
    assert first.num_labels == network.num_labels
    assert not first.model.training
