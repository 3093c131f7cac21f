"""Language models and prompts on which methods are tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dimscope.data.prompts.catalogue import make_prompts
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.models.load import Network, load_language_model


@pytest.fixture(scope="session")
def language_model(tiny_folder: Callable[[str], Path]) -> Callable[[str], Network]:
    """Give a family's tiny language model, opened anew at every call."""
    return lambda family: load_language_model(str(tiny_folder(family)))


@pytest.fixture(scope="session")
def prompts() -> Callable[..., PromptPairs]:
    """Give pairs of prompts that every tokenizer can write."""
    return lambda network, num_pairs=12: make_prompts("induction", network.tokenizer, num_pairs, 0)


@pytest.fixture(scope="session")
def roughened() -> Callable[[Network], Network]:
    """Give norms and biases values of their own: fresh ones are 1 and 0, which hide mistakes."""

    def roughen(network: Network) -> Network:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for values in network.model.parameters():
                if values.ndim == 1:
                    values += 0.3 * torch.randn(values.shape, generator=generator)
        return network

    return roughen
