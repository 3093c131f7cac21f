"""What heads write, by the model's own output projection."""

import numpy as np
import pytest
import torch

from dimscope.activations.contributions import written_by_heads
from dimscope.models.blocks import bias
from dimscope.models.load import load_language_model


@pytest.mark.parametrize("family", ["gpt2", "llama", "pythia-70m", "opt"])
def test_a_head_writes_what_the_projection_makes_of_it_alone(family, tiny_folder):
    network = load_language_model(str(tiny_folder(family)))
    out = network.sites["layers.1.attn.out"].module
    given = torch.randn(5, network.hidden_size, generator=torch.Generator().manual_seed(0))
    written = written_by_heads(network, 1, given)
    with torch.no_grad():
        out.bias = None if out.bias is None else torch.nn.Parameter(out.bias + 1)
        for head in range(network.num_heads):
            alone = torch.zeros_like(given)
            alone[:, 8 * head : 8 * head + 8] = given[:, 8 * head : 8 * head + 8]
            np.testing.assert_allclose(written[:, head], out(alone) - bias(out), atol=1e-5)
        np.testing.assert_allclose(written.sum(1), out(given) - bias(out), atol=1e-5)
