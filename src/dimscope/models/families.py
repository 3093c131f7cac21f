"""The families that have a tiny random model, as plain data: nothing heavy is imported to list them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Family:
    """How to make a tiny model of one family.

    `model_type` is Hugging Face's name, `tokenizer` one of the kinds that `dimscope.models.tiny` trains, and
    `config` what differs from the sizes that all tiny models share.
    """

    model_type: str
    tokenizer: Literal["wordpiece", "framed_bytes", "bytes"]
    config: Mapping[str, Any] = field(default_factory=dict)


FAMILIES: dict[str, Family] = {
    "bert": Family("bert", "wordpiece"),
    "distilbert": Family("distilbert", "wordpiece"),
    "albert": Family("albert", "wordpiece", {"embedding_size": 16, "num_hidden_layers": 3}),
    "roberta": Family("roberta", "framed_bytes", {"type_vocab_size": 1, "max_position_embeddings": 66}),
    "gpt2": Family("gpt2", "bytes"),
    "pythia-70m": Family("gpt_neox", "bytes"),
    "pythia-160m": Family("gpt_neox", "bytes", {"num_hidden_layers": 3}),
    "pythia-410m": Family("gpt_neox", "bytes", {"num_hidden_layers": 3, "hidden_size": 48}),
    "llama": Family("llama", "bytes", {"num_key_value_heads": 2}),
    "electra": Family("electra", "wordpiece", {"embedding_size": 16}),
    "deberta": Family(
        "deberta-v2",
        "wordpiece",
        {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 8,
            "position_biased_input": False,
            "norm_rel_ebd": "layer_norm",
            "pooler_hidden_size": 32,
        },
    ),
    "modernbert": Family("modernbert", "wordpiece", {"local_attention": 8, "global_attn_every_n_layers": 2}),
    "mpnet": Family("mpnet", "framed_bytes", {"max_position_embeddings": 66}),
    "gpt_neo": Family("gpt_neo", "bytes", {"attention_types": [[["global", "local"], 1]], "window_size": 8}),
    "opt": Family("opt", "bytes", {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    "qwen3": Family("qwen3", "bytes", {"num_key_value_heads": 2, "head_dim": 8}),
    "gemma": Family("gemma", "bytes", {"num_key_value_heads": 2, "head_dim": 8}),
}
