"""Maps whose weights are laid out give what the plain ones give, and touch nothing else."""

from __future__ import annotations

import torch
from torch import nn

from dimscope.models.packed import packed_bytes, with_packed_maps


def test_a_model_with_packed_maps_gives_the_same_and_shares_all_else(tiny_network):
    network = tiny_network("llama")
    batch = network.tokenizer(["good film", "a sad story"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = network.model(**batch).logits
        shadow = with_packed_maps(network.model)
        torch.testing.assert_close(shadow(**batch).logits, expected)
        assert packed_bytes(network.model) == 0
        linear = [part for part in network.model.base_model.modules() if isinstance(part, nn.Linear)]
        assert packed_bytes(shadow) == sum(part.weight.nbytes for part in linear)
        assert all(a is b for a, b in zip(shadow.parameters(), network.model.parameters(), strict=True))
        seen = []
        with_hook = linear[0].register_forward_hook(lambda *_: seen.append(1))
        shadow(**batch)
        with_hook.remove()
        assert seen == [1]
        torch.testing.assert_close(with_packed_maps(shadow)(**batch).logits, expected)


def test_modules_used_twice_are_packed_once(tiny_network):
    model = tiny_network("albert").model
    shadow = with_packed_maps(model)
    assert len(list(shadow.modules())) == len(list(model.modules()))
