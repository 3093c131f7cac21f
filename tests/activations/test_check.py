from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.modeling_outputs import BaseModelOutput

from dimscope.activations.check import check, checking, mask_decides, padding_changes_nothing
from dimscope.core.errors import UserError
from dimscope.models.families import FAMILIES
from dimscope.models.load import Network, load


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_passes_and_keeps_no_hooks(family: str, tiny_network: Callable[[str], Network]):
    network = tiny_network(family)
    check(network)
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in network.model.modules())


def test_something_between_two_blocks_is_found(
    tiny_network: Callable[[str], Network], tiny_folder: Callable[[str], Path]
):
    # DeBERTa's large models put a convolution after the first block.
    config = AutoConfig.from_pretrained(tiny_folder("deberta"))
    config.conv_kernel_size, config.conv_act = 3, "gelu"
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with pytest.raises(UserError, match=r"'layers\.0\.out' is not 'layers\.1\.in'"):
        check(replace(tiny_network("deberta"), model=model))


def test_something_after_the_final_norm_is_found(tiny_network: Callable[[str], Network]):
    network = tiny_network("gpt2")
    model = copy.deepcopy(network.model)
    model.transformer.register_forward_hook(
        lambda module, args, output: BaseModelOutput(last_hidden_state=output.last_hidden_state + 1)
    )
    with pytest.raises(UserError, match="'final' is not 'what the base model returns'"):
        check(replace(network, model=model))


def test_positions_that_depend_on_the_padding_are_found(tiny_network: Callable[[str], Network]):
    network = tiny_network("gpt2")
    blind = replace(network)
    blind.__dict__["accepts"] = network.accepts - {"position_ids"}
    with pytest.raises(UserError, match="padding on the left differ"):
        check(blind)


def test_a_model_that_goes_by_the_pad_id_is_found(tiny_network: Callable[[str], Network]):
    network = tiny_network("gpt2")
    model = copy.deepcopy(network.model)

    def by_pad_id(module, args, inputs):
        return args, {**inputs, "attention_mask": (inputs["input_ids"] != network.pad_id).long()}

    model.base_model.register_forward_pre_hook(by_pad_id, with_kwargs=True)
    assert padding_changes_nothing(replace(network, model=model)).holds
    assert not mask_decides(replace(network, model=model)).holds
    with pytest.raises(UserError, match="the mask decides, not the pad id: a state alone and with token"):
        check(replace(network, model=model))


def test_whatever_the_models_own_code_raises_is_the_reason():
    @checking("runs")
    def run() -> str:
        raise IndexError("index out of range")

    assert (run().holds, run().detail) == (False, "IndexError: index out of range")


def test_a_classifier_that_reads_another_token_is_found(tiny_network: Callable[[str], Network]):
    with pytest.raises(UserError, match="our logits and Hugging Face's differ"):
        check(replace(tiny_network("bert"), is_decoder=True))


@pytest.mark.registry
def test_minilm_passes():
    network = load("minilm")
    check(network)
    assert network.model.dtype == torch.float32
