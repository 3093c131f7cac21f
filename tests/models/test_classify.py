from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dimscope.models.classify import classify
from dimscope.models.families import FAMILIES
from dimscope.models.load import Network

TEXTS = ["the film is good", "so very sad", "a dull story seems so very bad not good"]
DECODERS = [name for name, family in FAMILIES.items() if family.tokenizer == "bytes"]


def padded(network: Network, texts: list[str], side: str = "right") -> dict[str, Tensor]:
    return dict(network.tokenizer(texts, padding=True, padding_side=side, return_tensors="pt"))


def by_hugging_face(network: Network, text: str) -> Tensor:
    """The logits of the model's own class for one sentence without padding."""
    with torch.inference_mode():
        return network.model(input_ids=network.tokenizer(text, return_tensors="pt").input_ids).logits[0]


@torch.inference_mode()
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_of_a_batch_are_hugging_faces_of_each_sentence(family: str, tiny_network: Callable[[str], Network]):
    network = tiny_network(family)
    for side in ("right", "left"):
        logits = classify(network, padded(network, TEXTS, side))
        for row, text in enumerate(TEXTS):
            torch.testing.assert_close(logits[row], by_hugging_face(network, text), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("family", DECODERS)
def test_a_text_that_ends_with_the_pad_token_is_read_to_its_end(family: str, tiny_network: Callable[[str], Network]):
    network = tiny_network(family)
    text = f"so very sad{network.tokenizer.pad_token}"
    ids = network.tokenizer(text, return_tensors="pt").input_ids
    assert ids[0, -1] == network.pad_id
    hidden = network.model.base_model(input_ids=ids).last_hidden_state
    expected = network.model.score(hidden)[0, -1]
    torch.testing.assert_close(classify(network, padded(network, [text, TEXTS[2]]))[0], expected)


def test_inputs_that_the_model_does_not_take_are_left_out(tiny_network: Callable[[str], Network]):
    network = tiny_network("distilbert")
    batch = padded(network, TEXTS)
    assert "token_type_ids" in batch
    without = {name: values for name, values in batch.items() if name != "token_type_ids"}
    assert torch.equal(classify(network, batch), classify(network, without))


def test_gradients_reach_the_head_and_the_embeddings(tiny_network: Callable[[str], Network]):
    for family in ("bert", "gpt2"):
        network = tiny_network(family)
        classify(network, padded(network, TEXTS)).sum().backward()
        parameters = [network.head.weight, network.model.get_input_embeddings().weight]
        assert all(parameter.grad.abs().sum() > 0 for parameter in parameters)
        network.model.zero_grad(set_to_none=True)
