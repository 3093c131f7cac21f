from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dimscope.activations.capture import chosen_tokens, states, tokens
from dimscope.core.errors import UnknownName, UserError
from dimscope.models.classify import classify
from dimscope.models.families import FAMILIES
from dimscope.models.load import Network

TEXTS = ["the film is good", "so very sad", "a dull story seems so very bad not good", "bad"]
PRE_NORM = ["gpt2", "pythia-70m", "llama", "gpt_neo", "opt", "qwen3", "gemma", "modernbert"]

Tiny = Callable[[str], Network]


def padded(network: Network, texts: list[str], side: str = "right") -> dict[str, Tensor]:
    return dict(network.tokenizer(texts, padding=True, padding_side=side, return_tensors="pt"))


def one_batch(network: Network, side: str = "right") -> list[tuple[np.ndarray, dict[str, Tensor]]]:
    return [(np.arange(len(TEXTS)), padded(network, TEXTS, side))]


@torch.inference_mode()
def hidden_states(network: Network, text: str) -> list[Tensor]:
    """Hugging Face's own [layers + 1, tokens, dims] of one sentence; on a copy, in which it leaves hooks."""
    model = copy.deepcopy(network.model)
    batch = {name: values for name, values in padded(network, [text]).items() if name in network.accepts}
    return [hidden[0] for hidden in model(**batch, output_hidden_states=True).hidden_states]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_hugging_faces_of_each_sentence_alone(family: str, side: str, tiny_network: Tiny):
    network = tiny_network(family)
    blocks = [f"layers.{layer}.out" for layer in range(network.num_layers - 1)]
    names = ["embed", *blocks, "final"]
    for pooling, pick in {
        "first": lambda h: h[0],
        "last": lambda h: h[-1],
        "mean": lambda h: h.mean(0),
    }.items():
        taken = states(network, one_batch(network, side), names, pooling)
        for row, text in enumerate(TEXTS):
            for name, expected in zip(names, hidden_states(network, text), strict=True):
                np.testing.assert_allclose(taken[name][row], pick(expected), atol=1e-5)
                assert taken[name].dtype == np.float32


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_auto_takes_the_token_that_the_classifier_reads(family: str, tiny_network: Tiny):
    network = tiny_network(family)
    taken = states(network, one_batch(network), ["final"])["final"]
    by_name = states(network, one_batch(network), ["final"], "last" if network.is_decoder else "first")["final"]
    assert np.array_equal(taken, by_name)


@pytest.mark.parametrize("family", PRE_NORM)
def test_a_block_adds_what_attention_and_mlp_write(family: str, tiny_network: Tiny):
    network = tiny_network(family)
    names = [f"layers.1.{part}" for part in ("in", "attn.out", "mlp.out", "out")]
    into, attention, mlp, out = states(network, one_batch(network), names).values()
    np.testing.assert_allclose(into + attention + mlp, out, atol=1e-5)


def test_a_post_norm_block_normalizes_the_sum(tiny_network: Tiny):
    network = tiny_network("bert")
    names = [f"layers.0.{part}" for part in ("in", "attn.out", "mlp.out", "out")]
    into, attention, mlp, out = (torch.from_numpy(part) for part in states(network, one_batch(network), names).values())
    block = network.model.bert.encoder.layer[0]
    with torch.inference_mode():
        middle = block.attention.output.LayerNorm(into + attention)
        torch.testing.assert_close(block.output.LayerNorm(middle + mlp), out, atol=1e-5, rtol=1e-5)


def test_logits_are_a_site_too(tiny_network: Tiny):
    for family in ("roberta", "gpt2"):
        network = tiny_network(family)
        with torch.inference_mode():
            expected = classify(network, padded(network, TEXTS)).numpy()
        assert np.array_equal(states(network, one_batch(network), ["logits"])["logits"], expected)


def test_rows_come_in_the_order_of_the_sentences_numbers(tiny_network: Tiny):
    network = tiny_network("pythia-70m")
    shuffled = ([4, 0], [3, 1])
    texts = dict(zip((4, 0, 3, 1), TEXTS, strict=True))
    batches = [(np.array(part), padded(network, [texts[number] for number in part])) for part in shuffled]
    taken = states(network, batches)["final"]
    for row, number in enumerate(sorted(texts)):
        alone = states(network, [(np.array([0]), padded(network, [texts[number]]))])["final"][0]
        np.testing.assert_allclose(taken[row], alone, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "albert", "pythia-160m"])
def test_the_pass_stops_at_the_deepest_site(family: str, tiny_network: Tiny):
    network = tiny_network(family)
    calls = {"blocks": 0, "head": 0}

    def count(name: str) -> Callable[..., None]:
        return lambda *_: calls.update({name: calls[name] + 1})

    blocks = {network.sites[f"layers.{layer}.out"].module for layer in range(network.num_layers)}
    counters = [block.register_forward_hook(count("blocks")) for block in blocks]
    counters.append(network.head.register_forward_hook(count("head")))
    states(network, one_batch(network), ["embed", "layers.0.out"])
    assert calls == {"blocks": 1, "head": 0}
    states(network, one_batch(network), ["layers.0.in", "final"])
    assert calls == {"blocks": 1 + network.num_layers, "head": 0}
    for counter in counters:
        counter.remove()


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_token_states_are_those_of_each_sentence(family: str, tiny_network: Tiny):
    network = tiny_network(family)
    ((by_site, mask),) = tokens(network, one_batch(network), ["layers.0.out", "embed"])
    for row, text in enumerate(TEXTS):
        embedded, after_first_block, *_ = hidden_states(network, text)
        real = mask[row] == 1
        np.testing.assert_allclose(by_site["embed"][row][real], embedded, atol=1e-5)
        np.testing.assert_allclose(by_site["layers.0.out"][row][real], after_first_block, atol=1e-5)


def test_a_fresh_model_is_left_without_hooks_and_as_it_was(tiny_network: Tiny):
    network = tiny_network("modernbert")
    before = {name: values.clone() for name, values in network.model.state_dict().items()}
    states(network, one_batch(network), ["final", "layers.0.mlp.out"])
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in network.model.modules())
    assert all(torch.equal(values, before[name]) for name, values in network.model.state_dict().items())


def test_unknown_names_are_told(tiny_network: Tiny):
    network = tiny_network("gpt2")
    with pytest.raises(UnknownName, match=r"unknown site 'layer\.0\.out'"):
        states(network, one_batch(network), ["layer.0.out"])
    with pytest.raises(UnknownName, match="unknown pooling 'cls'"):
        states(network, one_batch(network), pooling="cls")


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", FAMILIES)
def test_chosen_tokens_are_those_of_each_sentence_alone(family: str, side: str, tiny_network: Tiny, raw):
    """The oracle is every sentence alone, read by plain hooks."""
    network = tiny_network(family)
    names = ["layers.0.attn.v", "layers.1.attn.heads", "layers.1.mlp.in"]
    chosen = np.array([[0, 2], [2, 1], [5, 3], [0, 0]])
    ((numbers, taken),) = chosen_tokens(network, one_batch(network, side), names, chosen)
    assert numbers.tolist() == [0, 1, 2, 3]
    for row, text in enumerate(TEXTS):
        for name in names:
            seen: list[Tensor] = []
            with torch.inference_mode(), raw(network.model, family, name, seen.append):
                classify(network, padded(network, [text]))
            alone = seen[0].view(-1, seen[0].shape[-1])[chosen[row]]
            np.testing.assert_allclose(taken[name][row], alone, rtol=1e-4, atol=1e-5)


def test_chosen_tokens_come_batch_by_batch_and_stop_at_the_deepest_site(tiny_network: Tiny, raw):
    network = tiny_network("llama")
    order, chosen = [[3, 1], [2]], np.array([[9], [2], [4], [0]])
    batches = [(np.array(rows), padded(network, [TEXTS[row] for row in rows])) for rows in order]
    later: list[Tensor] = []
    with raw(network.model, "llama", "layers.1.in", later.append):
        given = list(chosen_tokens(network, batches, ["layers.0.mlp.out"], chosen))
    assert later == []
    assert [numbers.tolist() for numbers, _ in given] == order
    for numbers, taken in given:
        for row, number in enumerate(numbers):
            (_, alone), *_ = chosen_tokens(
                network, [(np.array([0]), padded(network, [TEXTS[number]]))], ["layers.0.mlp.out"], chosen[[number]]
            )
            np.testing.assert_allclose(taken["layers.0.mlp.out"][row], alone["layers.0.mlp.out"][0], atol=1e-5)
    with pytest.raises(UserError, match="sentence 0 of the batch has the tokens 0 to"):
        list(chosen_tokens(network, batches, ["embed"], chosen + 99))
