"""Patched heads against TransformerLens and nnsight, which make whole passes with machinery of their own."""

from __future__ import annotations

import pytest
import torch

from dimscope.activations.continuation import Continuation
from dimscope.activations.patching import Patch, patched
from dimscope.models.load import load_language_model

OUTPUT_MAPS = {
    "gpt2": "transformer.h.{}.attn.c_proj",
    "pythia-160m": "gpt_neox.layers.{}.attention.dense",
    "llama": "model.layers.{}.self_attn.o_proj",
}
NOT_INSTALLED = "pip install 'dimscope[compare]' to hold patches against it"


@pytest.fixture(scope="module", params=list(OUTPUT_MAPS))
def study(request, tiny_folder):
    """The folder, the prompts, and our logits with each head patched."""
    folder = str(tiny_folder(request.param))
    network = load_language_model(folder)
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(5, 200, (2, 7), generator=generator)
    other = ids.clone()
    other[:, 4] = torch.randint(200, 300, (2,), generator=generator)
    sites = tuple(f"layers.{layer}.attn.heads" for layer in range(network.num_layers))
    runs = (
        Continuation(network, {"input_ids": x, "attention_mask": torch.ones_like(x)}, 4, sites) for x in (ids, other)
    )
    heads = [(layer, head) for layer in range(network.num_layers) for head in range(network.num_heads)]
    found = patched(*runs, [Patch(sites[layer], head) for layer, head in heads])
    return request.param, folder, (ids, other), dict(zip(heads, found, strict=True))


def with_head(values: torch.Tensor, theirs: torch.Tensor, head: int, num_heads: int) -> torch.Tensor:
    """Give the values, of heads apart or one after the other, with one head's in the place of ours."""
    new = values.clone()
    shape = (*values.shape[:2], num_heads, -1)
    new.view(shape)[:, :, head] = theirs.reshape(shape)[:, :, head]
    return new


@torch.inference_mode()
def test_transformer_lens_patches_the_same(study):
    lens = pytest.importorskip("transformer_lens.model_bridge", reason=NOT_INSTALLED)
    _, folder, (ids, other), ours = study
    network = load_language_model(folder)
    bridge = lens.TransformerBridge.boot_transformers(folder, hf_model=network.model, tokenizer=network.tokenizer)
    for (layer, head), found in ours.items():
        name = f"blocks.{layer}.attn.hook_z"
        _, theirs = bridge.run_with_cache(other, names_filter=name)
        replace = lambda values, hook: with_head(values, theirs[name], head, network.num_heads)  # noqa: B023, E731
        logits = bridge.run_with_hooks(ids, fwd_hooks=[(name, replace)])
        torch.testing.assert_close(found, logits[:, -1], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_nnsight_patches_the_same(study):
    nnsight = pytest.importorskip("nnsight", reason=NOT_INSTALLED)
    family, folder, (ids, other), ours = study
    network = load_language_model(folder)
    model = nnsight.NNsight(network.model)
    for (layer, head), found in ours.items():
        path = OUTPUT_MAPS[family].format(layer)
        with model.trace(other):
            theirs = model.get(path).input.save()
        with model.trace(ids):
            place = model.get(path)
            place.input = with_head(place.input, theirs, head, network.num_heads)
            logits = model.output.logits.save()
        torch.testing.assert_close(found, logits[:, -1], atol=1e-4, rtol=1e-4)
