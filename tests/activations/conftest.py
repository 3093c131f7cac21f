"""Every site written down by hand for every family, as plain hooks of PyTorch: nothing here asks the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

HEADS = 4

Change = Callable[[Tensor], Tensor | None]
"""Takes the values [sentences, tokens, dims] at a site and gives others, or None to leave them."""


@dataclass(frozen=True)
class Modules:
    """Where a family keeps its parts; `fused` tells how one map holds queries, keys and values."""

    block: str
    qkv: tuple[str, ...]
    attention_out: str
    mlp_in: tuple[str, ...]
    mlp_out: str
    fused: str = "no"
    embed: str = ""
    final: str = ""
    head: str = ""


_BERT = (tuple(f"attention.self.{name}" for name in ("query", "key", "value")), "attention.output.dense")
_BERT_MLP = (("intermediate.dense",), "output.dense")
_LLAMA = (tuple(f"self_attn.{name}_proj" for name in "qkv"), "self_attn.o_proj")
_LLAMA_MLP = (("mlp.gate_proj", "mlp.up_proj"), "mlp.down_proj")
_NEOX = Modules(
    "gpt_neox.layers.{}",
    ("attention.query_key_value",),
    "attention.dense",
    ("mlp.dense_h_to_4h",),
    "mlp.dense_4h_to_h",
    fused="head by head",
    final="gpt_neox.final_layer_norm",
)

MODULES = {
    "bert": Modules("bert.encoder.layer.{}", *_BERT, *_BERT_MLP),
    "distilbert": Modules(
        "distilbert.transformer.layer.{}",
        tuple(f"attention.{name}_lin" for name in "qkv"),
        "attention.out_lin",
        ("ffn.lin1",),
        "ffn.lin2",
    ),
    "albert": Modules(
        "albert.encoder.albert_layer_groups.0",
        tuple(f"albert_layers.0.attention.{name}" for name in ("query", "key", "value")),
        "albert_layers.0.attention.dense",
        ("albert_layers.0.ffn",),
        "albert_layers.0.ffn_output",
    ),
    "roberta": Modules("roberta.encoder.layer.{}", *_BERT, *_BERT_MLP),
    "electra": Modules("electra.encoder.layer.{}", *_BERT, *_BERT_MLP),
    "deberta": Modules(
        "deberta.encoder.layer.{}",
        tuple(f"attention.self.{name}_proj" for name in ("query", "key", "value")),
        "attention.output.dense",
        *_BERT_MLP,
    ),
    "modernbert": Modules(
        "model.layers.{}",
        ("attn.Wqkv",),
        "attn.Wo",
        ("mlp.Wi",),
        "mlp.Wo",
        fused="one after the other",
        final="model.final_norm",
    ),
    "mpnet": Modules(
        "mpnet.encoder.layer.{}",
        tuple(f"attention.attn.{name}" for name in "qkv"),
        "attention.attn.o",
        *_BERT_MLP,
    ),
    "gpt2": Modules(
        "transformer.h.{}",
        ("attn.c_attn",),
        "attn.c_proj",
        ("mlp.c_fc",),
        "mlp.c_proj",
        fused="one after the other",
        final="transformer.ln_f",
    ),
    "pythia-70m": _NEOX,
    "pythia-160m": _NEOX,
    "pythia-410m": _NEOX,
    "gpt_neo": Modules(
        "transformer.h.{}",
        tuple(f"attn.attention.{name}_proj" for name in "qkv"),
        "attn.attention.out_proj",
        ("mlp.c_fc",),
        "mlp.c_proj",
        final="transformer.ln_f",
    ),
    "opt": Modules(
        "model.decoder.layers.{}",
        tuple(f"self_attn.{name}_proj" for name in "qkv"),
        "self_attn.out_proj",
        ("fc1",),
        "fc2",
        final="model.decoder.final_layer_norm",
    ),
    "llama": Modules("model.layers.{}", *_LLAMA, *_LLAMA_MLP, final="model.norm"),
    "qwen3": Modules("model.layers.{}", *_LLAMA, *_LLAMA_MLP, final="model.norm"),
    "gemma": Modules("model.layers.{}", *_LLAMA, *_LLAMA_MLP, final="model.norm"),
}


def _read(outputs: Tensor, fused: str, index: int) -> Tensor:
    if fused == "one after the other":
        return outputs.chunk(3, dim=-1)[index]
    if fused == "head by head":
        return outputs.view(*outputs.shape[:-1], HEADS, 3, -1)[..., index, :].flatten(-2)
    return outputs


def _written(outputs: Tensor, fused: str, index: int, new: Tensor) -> Tensor:
    if fused == "no":
        return new
    parts = [_read(outputs, fused, part) for part in range(3)]
    parts[index] = new
    if fused == "one after the other":
        return torch.cat(parts, dim=-1)
    return torch.stack([part.unflatten(-1, (HEADS, -1)) for part in parts], dim=-2).flatten(-3)


@contextmanager
def plain_hooks(model: nn.Module, family: str, site: str, change: Change) -> Iterator[None]:
    """Within the block, a change by plain hooks at a site; ALBERT's shared block is counted by its calls."""
    modules = MODULES[family]
    num_layers = model.config.num_hidden_layers
    layer = int(site.split(".")[1]) if site.startswith("layers") else (0 if site == "embed" else num_layers - 1)
    part = site.partition(f"layers.{layer}.")[2] or {"embed": "in", "final": "out"}[site]
    inner = {
        "attn.in": (modules.qkv, "input"),
        "attn.heads": ((modules.attention_out,), "input"),
        "attn.out": ((modules.attention_out,), "output"),
        "mlp.in": (modules.mlp_in, "input"),
        "mlp.hidden": ((modules.mlp_out,), "input"),
        "mlp.out": ((modules.mlp_out,), "output"),
    }
    index = "qkv".index(part[-1]) if part in ("attn.q", "attn.k", "attn.v") else None
    if part in ("in", "out"):
        names, side = [""], f"{part}put"
    elif index is not None:
        names, side = [modules.qkv[index if modules.fused == "no" else 0]], "output"
    else:
        names, side = inner[part]
    block = modules.block.format(layer)
    paths = [modules.final] if site == "final" and modules.final else [f"{block}.{name}".rstrip(".") for name in names]
    turn = layer if family == "albert" else 0

    with ExitStack() as stack:
        for path in paths:
            calls = iter(range(100))

            def changed(values: Tensor, calls: Iterator[int] = calls) -> Tensor:
                if next(calls) != turn:
                    return values
                seen = values if index is None else _read(values, modules.fused, index)
                new = change(seen)
                if new is None:
                    return values
                return new if index is None else _written(values, modules.fused, index, new)

            def at_input(module: nn.Module, args: tuple, changed: Change = changed) -> tuple:
                return (changed(args[0]), *args[1:])

            def at_output(module: nn.Module, args: tuple, output: Tensor | tuple, changed: Change = changed):
                return (changed(output[0]), *output[1:]) if isinstance(output, tuple) else changed(output)

            module = model.get_submodule(path)
            register = module.register_forward_pre_hook if side == "input" else module.register_forward_hook
            stack.callback(register(at_input if side == "input" else at_output).remove)
        yield


@pytest.fixture
def raw() -> Callable[..., object]:
    """Give `plain_hooks`, the oracle."""
    return plain_hooks
