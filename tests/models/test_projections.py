"""Projections against what PyTorch's attention kernel is really given, in families whose maps are fused or grouped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModelForCausalLM

from dimscope.core.errors import UserError
from dimscope.models.blocks import blocks, maps
from dimscope.models.projections import projections

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 50,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
# Family, its config, dims of a head, heads of keys and values, and whether the first token's queries go in unchanged.
CASES = {
    "gpt2": ("gpt2", {}, 8, 4, True),
    "gpt_neox": ("gpt_neox", {}, 8, 4, True),
    "falcon, one for all": ("falcon", {"multi_query": True}, 8, 1, True),
    "falcon, each its own": ("falcon", {"multi_query": False}, 8, 4, True),
    "falcon, grouped": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}, 8, 2, True),
    "gpt_bigcode, one for all": ("gpt_bigcode", {"multi_query": True}, 8, 1, True),
    "gpt_bigcode, each its own": ("gpt_bigcode", {"multi_query": False}, 8, 4, True),
    "phi3, grouped": ("phi3", {"num_key_value_heads": 2, "pad_token_id": 0}, 8, 2, True),
    "llama, grouped": ("llama", {"num_key_value_heads": 2}, 8, 2, True),
    "gemma, wide heads": ("gemma", {"num_key_value_heads": 1, "head_dim": 16}, 16, 1, True),
    "qwen3, normed": ("qwen3", {"num_key_value_heads": 2, "head_dim": 16}, 16, 2, False),
}


class Kernel(TorchFunctionMode):
    """Keeps what the kernel is given: queries, keys and values as [sentences, heads, tokens, dims]."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention:
            self.given = args or (kwargs["query"], kwargs["key"], kwargs["value"])
        return func(*args, **(kwargs or {}))


def outputs_of(model: nn.Module, linear: nn.Module, ids: Tensor) -> tuple[Tensor, Kernel]:
    kept: list[Tensor] = []
    handle = linear.register_forward_hook(lambda module, args, output: kept.append(output))
    with torch.inference_mode(), Kernel() as kernel:
        model(input_ids=ids)
    handle.remove()
    return kept[0], kernel


@pytest.mark.parametrize("case", CASES)
def test_parts_are_what_the_kernel_is_given(case: str):
    family, changed, head_dim, num_kv_heads, is_unchanged = CASES[case]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SIZES, **changed)).eval()
    _, ((block, _),) = blocks(model)
    found = projections(maps(block, 32), 4, model.config.model_type)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    counts = {"q": 4, "k": num_kv_heads, "v": num_kv_heads}
    for index, (name, count) in enumerate(counts.items()):
        outputs, kernel = outputs_of(model, found[name].linear, ids)
        ours = outputs if found[name].part is None else found[name].part.of(outputs)
        assert found[name].num_heads == count
        assert ours.shape == (1, 5, count * head_dim)
        given = kernel.given[index]
        given = given[:, :: given.shape[1] // count].transpose(1, 2)
        # Only values go in as they are; a rotation leaves the first token's queries and keys.
        tokens = slice(None) if name == "v" else slice(0, 1)
        if name == "v" or is_unchanged:
            torch.testing.assert_close(ours.unflatten(-1, (count, -1))[:, tokens], given[:, tokens], rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", ["olmo2", "diffllama"])
def test_heads_that_share_more_have_no_projections(family: str):
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SIZES, pad_token_id=0))
    _, ((block, _),) = blocks(model)
    assert projections(maps(block, 32), 4, model.config.model_type) == {}


def test_phi3_writes_through_the_map_that_has_the_size_of_the_stream():
    # It is built before the map that reads, and so is not the last one.
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model("phi3", **SIZES, pad_token_id=0, num_key_value_heads=2)
    )
    _, ((block, _),) = blocks(model)
    found = maps(block, 32)
    assert found.attention_out is block.self_attn.o_proj
    assert found.mlp_out is block.mlp.down_proj
    with pytest.raises(UserError, match="cannot tell attention from MLP"):
        maps(block, 31)
