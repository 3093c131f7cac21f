"""What every part of a decoder writes into the stream at the last token, and what that adds to an answer's logit.

The stream is a sum: the embedding, every head, the bias of every layer's attention, every MLP (Elhage et al. 2021, "A
Mathematical Framework for Transformer Circuits").
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dimscope.activations.prompt_states import prompt_states
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.blocks import bias, weight
from dimscope.models.load import Network
from dimscope.models.readout import Readout


@torch.inference_mode()
def written_by_heads(
    network: Network, layer: int, given: Float[Tensor, "prompts inputs"]
) -> Float[Tensor, "prompts heads dims"]:
    """Give what each head of a layer writes, where `given` stands at the layer's `attn.heads`; its bias is not in it.

    >>> from dimscope.models.load import load_language_model
    >>> network = load_language_model("tiny/llama")
    >>> given = torch.randn(3, 32)
    >>> written = written_by_heads(network, 1, given).sum(1)
    >>> torch.allclose(written, network.sites["layers.1.attn.out"].module(given), atol=1e-6)
    True
    """
    by_head = weight(network.sites[f"layers.{layer}.attn.out"].module).unflatten(1, (network.num_heads, -1))
    return torch.einsum("dhi,phi->phd", by_head.to(given), given.unflatten(1, (network.num_heads, -1)))


def contributions(
    network: Network, readout: Readout, pairs: PromptPairs
) -> dict[str, Float[np.ndarray, "pairs *places"]]:
    """Give what every part adds to logit(answer) − logit(other) at the last token of every prompt.

    The parts are `embedding` and `bias` (the final norm's and the head's) [pairs], `heads` [pairs, layer, head],
    `attention_bias` and `mlp` [pairs, layer].
    """
    layers = [f"layers.{layer}" for layer in range(network.num_layers)]
    inside = [f"{layer}.{part}" for layer in layers for part in ("attn.heads", "mlp.out")]
    found = prompt_states(network, pairs, ["embed", *inside, f"{layers[-1]}.out"])
    states = {site: torch.from_numpy(values[:, 0]).double().to(network.device) for site, values in found.items()}
    chosen = (torch.from_numpy(each).to(network.device) for each in (pairs.answers, pairs.others))
    vectors, constants = readout.directions(states[f"{layers[-1]}.out"], *chosen)
    attention = [network.sites[f"{layer}.attn.out"].module for layer in layers]
    with torch.inference_mode():
        along_heads = [
            (vectors @ weight(out).double() * states[f"{layer}.attn.heads"])
            .unflatten(1, (network.num_heads, -1))
            .sum(2)
            for layer, out in zip(layers, attention, strict=True)
        ]
        parts = {
            "embedding": (vectors * states["embed"]).sum(1),
            "heads": torch.stack(along_heads, dim=1),
            "attention_bias": torch.stack([vectors @ bias(out).double() for out in attention], dim=1),
            "mlp": torch.stack([(vectors * states[f"{layer}.mlp.out"]).sum(1) for layer in layers], dim=1),
            "bias": constants,
        }
    return {part: values.cpu().numpy() for part, values in parts.items()}
