"""A dimension taken apart, against raw hooks and norms written out, and in networks of which one head alone writes it."""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dimscope.activations.direct_paths import written
from dimscope.core.errors import UserError
from dimscope.data.batching import encode, pad, token_batches
from dimscope.methods.locate.dimension_writers import DimensionWriters
from dimscope.models.catalogue import ModelSource
from dimscope.models.load import load

FAMILIES = ("bert", "albert", "electra", "distilbert", "gpt2", "llama", "opt", "pythia-70m", "gemma", "qwen3")
DIMS = (5, 11)


@pytest.fixture
def fresh_network(tiny_folder):
    """Open a network that no other test has: these change it."""
    return lambda family: load(ModelSource(family, "folder", str(tiny_folder(family))), num_labels=3, seed=1)


def batches(network, split):
    encoded = encode(network.tokenizer, split, 24)
    return [(indices, pad(encoded, indices, network.pad_id)) for indices in token_batches(encoded.lengths, 96)]


def bench_of(network, reviews, states):
    return SimpleNamespace(
        network=network,
        seed=0,
        states=lambda split: states[split],
        labels=lambda split: reviews.split(split).labels,
        batches=lambda split, most: batches(network, reviews.split(split)),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_parts_add_up_to_the_state_in_every_family(family, fresh_network, reviews, roughened):
    network = roughened(fresh_network(family))
    own = batches(network, reviews.validation)
    parts, values = written(network, own, DIMS)
    expected = np.empty((2, len(reviews.validation.texts)))
    for indices, batch in own:
        with torch.no_grad():
            states = network.model.base_model(**{k: v for k, v in batch.items() if k != "token_type_ids"})[0]
        place = (
            batch["attention_mask"].sum(1) - 1 if network.is_decoder else torch.zeros(len(indices), dtype=torch.long)
        )
        expected[:, indices] = states[torch.arange(len(indices)), place][:, DIMS].T.numpy()
    np.testing.assert_allclose(values, expected, atol=2e-5)
    summed = sum(each.reshape(2, len(expected[0]), -1).sum(axis=2) for each in parts.values())
    np.testing.assert_allclose(summed, expected, atol=1e-4)


def test_parts_of_a_network_normed_after_its_sums_are_those_written_out(fresh_network, reviews, roughened):
    network = roughened(fresh_network("bert"))
    text = reviews.validation.texts[0]
    found, _ = written(network, batches(network, reviews.split("validation")), DIMS)
    model, seen = network.model.bert, {}
    blocks = model.encoder.layer
    norms = [norm for block in blocks for norm in (block.attention.output.LayerNorm, block.output.LayerNorm)]
    maps = [linear for block in blocks for linear in (block.attention.output.dense, block.output.dense)]
    with ExitStack() as stack, torch.no_grad():
        for module in (*norms, *maps):
            keep = module.register_forward_pre_hook(lambda module, args: seen.update({module: args[0][0, 0]}))
            stack.callback(keep.remove)
        embedded = model(**network.tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[0]

        def arrived(vector, first_norm):
            for norm in norms[first_norm:]:
                scale = (seen[norm].var(correction=0) + norm.eps).sqrt()
                vector = (vector - vector.mean()) / scale * norm.weight
            return vector[list(DIMS)].numpy()

        num_heads, size = network.num_heads, network.head_dim
        for layer, block in enumerate(blocks):
            out = block.attention.output.dense
            for head in range(num_heads):
                own = slice(head * size, (head + 1) * size)
                expected = arrived(out.weight[:, own] @ seen[out][own], 2 * layer)
                np.testing.assert_allclose(found["heads"][:, 0, layer, head], expected, atol=2e-5)
            np.testing.assert_allclose(found["attention_bias"][:, 0, layer], arrived(out.bias, 2 * layer), atol=2e-5)
            last = block.output.dense
            mlp = last.weight @ seen[last] + last.bias
            np.testing.assert_allclose(found["mlp"][:, 0, layer], arrived(mlp, 2 * layer + 1), atol=2e-5)
        np.testing.assert_allclose(found["embedding"][:, 0], arrived(embedded[0, 0], 0), atol=2e-5)
        offsets = sum(arrived(norm.bias, place + 1) for place, norm in enumerate(norms))
        np.testing.assert_allclose(found["norms"][:, 0], offsets, atol=2e-5)


@pytest.fixture
def planted(fresh_network, reviews):
    """A Llama whose dim 7 is written by head 2 of layer 1 alone, and what its states are."""
    network = fresh_network("llama")
    base = network.model.base_model
    with torch.no_grad():
        base.embed_tokens.weight[:, 7] = 0
        for layer, block in enumerate(base.layers):
            block.mlp.down_proj.weight[7] = 0
            block.self_attn.o_proj.weight[7] = 0
            if layer == 1:
                block.self_attn.o_proj.weight[7, 2 * network.head_dim : 3 * network.head_dim] = 5
    states = {}
    for split in ("train", "validation"):
        _, values = written(network, batches(network, reviews.split(split)), range(network.hidden_size))
        states[split] = values.T
    return bench_of(network, reviews, states)


def test_the_one_head_that_writes_a_dimension_has_all_of_it(planted):
    result = DimensionWriters(dim=7, num_random=3, num_shown=2).run(planted)
    shares = result.arrays["heads_variance_share"].values
    assert shares[1, 2] == pytest.approx(1, abs=1e-6)
    assert result.number("variance_share", part="heads", layer=1, head=2).where["rank"] == 1
    assert result.value("class_share", part="heads", layer=1, head=2) == pytest.approx(1, abs=1e-6)
    shares[1, 2] = 0
    np.testing.assert_allclose(shares, 0, atol=1e-6)
    assert result.value("largest_share", dimension="chosen") == pytest.approx(1, abs=1e-6)
    assert result.value("largest_share", dimension="others") < 0.9


def test_shares_add_up_and_the_dimension_that_varies_most_is_the_default(planted, reviews):
    result = DimensionWriters().run(planted)
    assert result.value("dim") == planted.states("train").var(axis=0).argmax()
    for name in ("variance_sum", "class_sum"):
        of_parts = [each.value for each in result.numbers if each.name == name]
        assert len(of_parts) == 5
        assert sum(of_parts) == pytest.approx(1, abs=1e-4)
    values = planted.states("validation")[:, int(result.value("dim"))]
    parts, _ = written(planted.network, batches(planted.network, reviews.validation), [int(result.value("dim"))])
    mlp = parts["mlp"][0]
    expected = [np.cov(mlp[:, layer], values, bias=True)[0, 1] / values.var() for layer in range(mlp.shape[1])]
    np.testing.assert_allclose(result.arrays["mlp_variance_share"].values, expected, atol=1e-6)


def test_what_cannot_be_taken_apart_is_refused(planted):
    with pytest.raises(UserError, match="dimensions 0 to 31"):
        DimensionWriters(dim=32).run(planted)
    states = {split: np.ones((16, 32)) for split in ("train", "validation")}
    with pytest.raises(UserError, match="nothing to take apart"):
        DimensionWriters(dim=3).run(SimpleNamespace(**{**vars(planted), "states": states.__getitem__}))
