from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dimscope.activations.prompt_states import prompt_states
from dimscope.core.errors import UnknownName
from dimscope.data.prompts.catalogue import make_prompts


def test_every_prompt_has_its_own_tokens_whatever_it_is_batched_with(tiny_network):
    network = tiny_network("llama")
    whole = make_prompts("induction", network.tokenizer, 10, 0)
    lengths = 4 + np.arange(10) % 7
    mask = (np.arange(whole.ids.shape[1]) < lengths[:, None]).astype(np.int64)
    ids = np.where(mask, whole.ids, network.pad_id)
    pairs = replace(whole, ids=ids, mask=mask, places={"end": lengths - 1, "second": np.ones(10, np.int64)})
    found = prompt_states(network, pairs, ["layers.0.out", "embed"], ("second", "end"))
    seen = []
    handle = network.model.base_model.layers[0].register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        for own, length in zip(ids, lengths, strict=True):
            network.model.base_model(input_ids=torch.from_numpy(own[None, :length]))
    handle.remove()
    for row, states in enumerate(seen):
        expected = states[0, [1, lengths[row] - 1]].numpy()
        np.testing.assert_allclose(found["layers.0.out"][row], expected, atol=1e-5)
    assert found["embed"].shape == (10, 2, 32)


def test_a_token_that_is_not_there_is_refused(tiny_network):
    network = tiny_network("gpt2")
    with pytest.raises(UnknownName, match="S9"):
        prompt_states(network, make_prompts("induction", network.tokenizer, 4, 0), ["embed"], ("S9",))
