"""The same architecture with weights that have learned nothing: the control for what pretraining brought."""

from __future__ import annotations

from dataclasses import replace

import torch
from transformers import AutoModelForSequenceClassification

from dimscope.core import seeds
from dimscope.models.load import Network
from dimscope.models.quiet import quiet


@torch.inference_mode(mode=False)
def untrained(network: Network, seed: int) -> Network:
    """Give a network of the same config whose weights its own initializer draws, from `seed`, stream 'weights'.

    The global random numbers are not touched, nor is the network.

    >>> from dimscope.models.load import load
    >>> untrained(load("tiny/gpt2", seed=1), seed=1).hidden_size
    32
    """
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seeds.integer(seed, "weights"))
        config = type(network.model.config).from_dict(network.model.config.to_dict())
        model = AutoModelForSequenceClassification.from_config(config, dtype=network.model.dtype)
    return replace(network, model=model.to(network.device).eval())
