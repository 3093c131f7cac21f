"""A chain of two heads, planted: the first is found on the way to the second's values, the second alone before the logits."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from dimscope.core.errors import UnknownName, UserError
from dimscope.data.prompts.catalogue import make_prompts
from dimscope.methods.locate.path_patching import PathPatching
from dimscope.models.load import load, load_language_model

FIRST, SECOND = (0, 1), (1, 3)
LAST_DIMS = slice(24, 32)
ROUNDING = 1e-6


@pytest.fixture(scope="module")
def bench(tiny_folder):
    """The second head reads dims that the first alone writes, and the head of the model does not see what it writes.

    Of the embeddings the second head's values and the logits see nothing; all other heads and all MLPs write nothing.
    """
    network = load_language_model(str(tiny_folder("llama")))
    size, blocks = network.head_dim, network.model.model.layers
    with torch.no_grad():
        for layer, block in enumerate(blocks):
            block.mlp.down_proj.weight.zero_()
            kept = block.self_attn.o_proj.weight.clone()
            block.self_attn.o_proj.weight.zero_()
            head = dict((FIRST, SECOND))[layer]
            dims = slice(head * size, (head + 1) * size)
            written = LAST_DIMS if layer == 0 else slice(0, 8)
            block.self_attn.o_proj.weight[written, dims] = 5 * kept[written, dims]
        blocks[1].self_attn.v_proj.weight[:, :24] = 0
        network.model.lm_head.weight = torch.nn.Parameter(network.model.lm_head.weight.clone())
        network.model.lm_head.weight[:, LAST_DIMS] = 0
    return SimpleNamespace(network=network, pairs=make_prompts("induction", network.tokenizer, 12, 0))


def shares(bench, **settings):
    return PathPatching(taken="all", **settings).run(bench).arrays["share"].values


def others(found, *chain):
    return np.abs(np.delete(found.ravel(), [np.ravel_multi_index(each, found.shape) for each in chain])).max()


def test_the_second_head_acts_on_the_logits_and_the_first_only_by_the_norms_scale(bench):
    found = shares(bench)
    assert abs(found[SECOND]) > 10 * abs(found[FIRST])
    assert others(found, FIRST, SECOND) < ROUNDING


def test_the_first_head_acts_on_the_seconds_values_and_nobody_else_does(bench):
    found = shares(bench, receivers=("1.1.v",))  # the fourth head's group
    assert abs(found[FIRST]) > 0.1
    assert others(found, FIRST) < ROUNDING


def test_heads_that_write_nothing_receive_in_vain(bench):
    assert np.abs(shares(bench, receivers=("1.0.v",))).max() < 1e-5  # no chain leads through the first two heads
    assert np.abs(shares(bench, receivers=("1.mlp",))).max() < 1e-5


def test_holding_mlps_that_write_nothing_changes_nothing(bench):
    np.testing.assert_allclose(shares(bench), shares(bench, mlps="held"), atol=1e-6)


def test_named_senders_alone_have_the_scores_they_have_among_all(bench):
    for receivers in (("logits",), ("1.1.v",)):
        everyone, few = shares(bench, receivers=receivers), shares(bench, receivers=receivers, senders=("1.3", "0.1"))
        assert (~np.isnan(few)).sum() == 2
        for head in (FIRST, SECOND):
            assert few[head] == pytest.approx(everyone[head], abs=1e-6)


def test_what_is_asked_wrongly_is_refused(bench, tiny_folder):
    with pytest.raises(ValidationError, match="wanted 'logits' alone"):
        PathPatching(receivers=("logits", "1.0.q"))
    with pytest.raises(ValidationError, match="wanted 'logits' alone"):
        PathPatching(receivers=("one.two.q",))
    with pytest.raises(UserError, match="heads of v 0 to 1"):
        shares(bench, receivers=("1.3.v",))
    with pytest.raises(UserError, match="layers are 0 to 1"):
        shares(bench, receivers=("2.mlp",))
    with pytest.raises(UserError, match=r"no head 1\.4: layers are 0 to 1"):
        shares(bench, senders=("1.4",))
    with pytest.raises(ValidationError, match="wanted different heads"):
        PathPatching(senders=("1.0", "1.0"))
    with pytest.raises(UnknownName, match="token"):
        shares(bench, receivers=("1.0.q",), token="subject")
    encoder = SimpleNamespace(network=load(str(tiny_folder("bert"))), pairs=bench.pairs)
    with pytest.raises(UserError, match="wants a decoder"):
        PathPatching().run(encoder)
