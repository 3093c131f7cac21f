"""Small GPT-2 models whose weights a test sets or knows, and pairs of prompts for them that are token ids alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from dimscope.data.prompts.pairs import PromptPairs


@pytest.fixture(scope="session")
def small_gpt2():
    """Makes a random model of 8 tokens: 4 heads of 8 dims a layer, a stream of 32, 6 places."""

    def make(num_layers):
        config = AutoConfig.for_model(
            "gpt2", vocab_size=8, num_hidden_layers=num_layers, hidden_size=32, num_attention_heads=4,
            max_position_embeddings=6, tie_word_embeddings=False, bos_token_id=None, eos_token_id=None,
            initializer_range=0.3,
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return AutoModelForCausalLM.from_config(config).eval()

    return make


@pytest.fixture(scope="session")
def id_pairs():
    """Makes pairs of prompts that are read at their last token."""

    def make(ids, changed, answers, others):
        texts = ("",) * len(ids)
        ends = np.full(len(ids), ids.shape[1] - 1)
        return PromptPairs("known", texts, texts, ids, changed, np.ones_like(ids), answers, others, {"end": ends})

    return make
