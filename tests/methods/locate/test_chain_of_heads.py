"""A circuit whose every weight is set by hand: a chain of heads that names who is not given twice.

The duplicate head finds, at the second mention of a name, where its first stands; the inhibition head brings that to
the last token; the movers' queries turn away from it and bring the other name. Norms are identities, scores are so far
apart that a softmax is 0 and 1, and all numbers are small whole ones, so that what has no effect has none at all.

The inhibition head tells of a mention that it looks at itself, too. So there is a second task that the chain cannot do
and can be made to do: with no name given twice nothing says which one is wrong, until the head is made to look at it.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from dimscope.methods.intervene.block_heads import BlockHeads
from dimscope.methods.intervene.force_attention import ForceAttention
from dimscope.methods.locate.head_forcing import HeadForcing
from dimscope.methods.locate.path_patching import PathPatching
from dimscope.models.load import Network
from dimscope.scoring.circuits import Roles, Stage, correlation

NUM_NAMES, NUM_HEADS, HEAD_DIM = 5, 4, 8
BEGIN, FILLER, END = 5, 6, 7
# What the dims of the stream stand for.
TOKEN, POSITION, DUPLICATE, INHIBITED = range(8), range(8, 14), range(14, 16), range(16, 18)
OUTPUT, NOISE = range(18, 23), range(23, 32)
SURE = 400.0
MOVED = {"mover": 3.0, "against": -1.0, "no mover": 0.0}
ROLES = (
    ("duplicate", "no duplicate", "other", "other"),
    ("inhibition", "no inhibition", "other", "other"),
    ("mover", "against", "no mover", "other"),
)


def parts_of(block, head):
    """The weights of one head, as views: queries, keys and values [stream, head], and what it writes [head, stream]."""
    own = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
    q, k, v = (each[:, own] for each in block.attn.c_attn.weight.data.chunk(3, dim=1))
    return q, k, v, block.attn.c_proj.weight.data[own]


def set_duplicate(q, k, v, out, writes):
    for name in range(NUM_NAMES):
        q[TOKEN[name], name] = SURE
        k[TOKEN[name], name] = 1
    q[list(POSITION), 5] = SURE  # the first mention, and not the second's own
    for mention, dim in enumerate(DUPLICATE):
        k[POSITION[1 + mention], 5] = 1
        v[POSITION[1 + mention], mention] = 1
        out[mention, dim] = writes


def set_inhibition(q, k, v, out, writes):
    q[POSITION[5], 0] = SURE
    k[POSITION[4], 0] = 1
    for mention, dim in enumerate(DUPLICATE):
        v[dim, mention] = 1
        v[POSITION[1 + mention], mention] = 1
        out[mention, INHIBITED[mention]] = writes


def set_mover(q, k, v, out, writes):
    q[POSITION[5], 0] = 2 * SURE
    for mention, dim in enumerate(INHIBITED):
        k[POSITION[1 + mention], 0] = 1
        q[dim, 1 + mention] = -SURE
        k[POSITION[1 + mention], 1 + mention] = 1
    for name in range(NUM_NAMES):
        v[TOKEN[name], name] = 1
        out[name, OUTPUT[name]] = writes


def set_role(role, parts):
    for each in parts:
        each.zero_()
    if role in MOVED:
        set_mover(*parts, MOVED[role])
    else:
        set_part = {"duplicate": set_duplicate, "inhibition": set_inhibition}[role.removeprefix("no ")]
        set_part(*parts, 0.0 if role.startswith("no ") else 1.0)


@pytest.fixture(scope="module", params=[0, 1, 2])
def chain(request, small_gpt2, id_pairs):
    """The chain, its heads anywhere in their layers; all others and the MLPs read everything and write noise."""
    model, rng = small_gpt2(num_layers=3), np.random.default_rng(request.param)
    placed = {}
    for layer, block in enumerate(model.transformer.h):
        block.ln_1 = block.ln_2 = nn.Identity()
        for writing in (block.attn.c_proj, block.mlp.c_proj):
            writing.weight.data[:, : NOISE[0]] = 0
        for head, role in enumerate(rng.permutation(ROLES[layer])):
            if role != "other":
                set_role(role, parts_of(block, head))
                placed[role] = (layer, head)
    model.transformer.ln_f = nn.Identity()
    model.transformer.wte.weight.data = torch.eye(32)[list(TOKEN)]
    model.transformer.wpe.weight.data = torch.eye(32)[list(POSITION)]
    model.lm_head.weight.data = 2 * torch.eye(32)[[*OUTPUT, *NOISE[:3]]] * (torch.arange(8) < NUM_NAMES)[:, None]
    return SimpleNamespace(
        network=Network("chain", model, None, is_decoder=True), pairs=named_twice(id_pairs), placed=placed
    )


def named_twice(id_pairs):
    """All prompts 'begin X Y filler S end', S being X or Y; the counterfactual names the other twice."""
    mentions = [(x, y) for x in range(NUM_NAMES) for y in range(NUM_NAMES) if x != y]
    rows = [(BEGIN, x, y, FILLER, again, END) for x, y in mentions for again in (x, y)]
    ids = np.array(rows)
    others = ids[:, 4]
    answers = ids[:, 1] + ids[:, 2] - others
    changed = ids.copy()
    changed[:, 4] = answers
    return id_pairs(ids, changed, answers, others)


@pytest.fixture
def not_repeated(id_pairs):
    """All prompts 'begin X Y filler filler end'; right is one of the names, and nothing tells which."""
    mentions = [(x, y) for x in range(NUM_NAMES) for y in range(NUM_NAMES) if x != y]
    ids = np.array([(BEGIN, x, y, FILLER, FILLER, END) for x, y in mentions for _ in (x, y)])
    right = 1 + np.arange(len(ids)) % 2
    rows = np.arange(len(ids))
    pairs = id_pairs(ids, ids, ids[rows, right], ids[rows, 3 - right])
    return replace(pairs, places={**pairs.places, "wrong": 3 - right})


def shares(chain, *receivers, **settings):
    names = [each if isinstance(each, str) else "{}.{}.{}".format(*each) for each in receivers]
    return PathPatching(receivers=names, taken="all", **settings).run(chain).arrays["share"].values


def assert_edges(chain, found, **edges):
    expected = np.zeros((3, NUM_HEADS))
    for role, share in edges.items():
        expected[chain.placed[role]] = share
    np.testing.assert_array_equal(found, expected)


@torch.no_grad()
def test_the_chain_names_who_is_mentioned_once(chain):
    for ids, right in ((chain.pairs.ids, chain.pairs.answers), (chain.pairs.counterfactual_ids, chain.pairs.others)):
        logits = chain.network.model(input_ids=torch.from_numpy(ids)).logits[:, -1]
        assert (logits.argmax(1).numpy() == right).all()


@pytest.mark.parametrize("mlps", ["free", "held"])
def test_the_movers_alone_act_on_the_logits(chain, mlps):
    """What they write goes three to minus one; their copy that writes nothing gives exactly nothing."""
    assert_edges(chain, shares(chain, "logits", mlps=mlps), mover=1.5, against=-0.5)


@pytest.mark.parametrize("token", ["all", "end"])
def test_the_inhibition_head_alone_acts_on_the_movers_queries(chain, token):
    mover, against = ((*chain.placed[role], "q") for role in ("mover", "against"))
    assert_edges(chain, shares(chain, mover, token=token), inhibition=1.5)
    assert_edges(chain, shares(chain, against, token=token), inhibition=-0.5)
    assert_edges(chain, shares(chain, mover, against, token=token), inhibition=1)


def test_the_duplicate_head_alone_acts_on_the_inhibition_heads_values(chain):
    assert_edges(chain, shares(chain, (*chain.placed["inhibition"], "v")), duplicate=1)


@pytest.mark.parametrize(
    ("role", "parts"), [("mover", "kv"), ("inhibition", "qk"), ("no mover", "qkv"), ("no inhibition", "qkv")]
)
def test_nobody_acts_on_the_other_inputs_of_the_chain(chain, role, parts):
    for part in parts:
        assert_edges(chain, shares(chain, (*chain.placed[role], part)))


@pytest.mark.parametrize("layer", range(3))
def test_nothing_leads_through_mlps_that_write_noise(chain, layer):
    assert_edges(chain, shares(chain, f"{layer}.mlp"))


def name_of(chain, role):
    return "{}.{}".format(*chain.placed[role])


def on(chain, pairs):
    return SimpleNamespace(network=chain.network, pairs=pairs, seed=1)


def accuracies(found, done):
    """Among all outputs: nothing done, done to the chosen heads, and to random ones."""
    what = ("nothing", "chosen heads", "random heads")
    return [found.value("accuracy", among="outputs", **{done: each}) for each in what]


def test_forcing_the_heads_of_the_first_task_repairs_the_second(chain, not_repeated):
    """The heads are found by path patching on the first task alone, and their roles by stage and sign."""
    first = Stage(shares(chain, "logits"), reach=3)
    ends = [(each.layer, each.head, "q") for each in first.strongest(2)]
    second = Stage(shares(chain, *ends, token="end"), reach=2)
    roles = Roles.of([first, second], num_kept=2, num_inhibiting=3)
    assert [each.name for each in roles.all_forced] == [name_of(chain, each) for each in ("inhibition", "against")]
    forcing = {"toward": ("wrong",), "num_draws": 3}
    for forced in (roles.all_forced, roles.inhibiting):
        found = ForceAttention(heads=tuple(each.name for each in forced), **forcing).run(on(chain, not_repeated))
        assert accuracies(found, "forced") == [0, 1, 0]
    mover = ForceAttention(heads=(name_of(chain, "mover"),), **forcing).run(on(chain, not_repeated))
    assert accuracies(mover, "forced")[:2] == [0, 0]


def test_each_head_that_is_forced_alone_changes_what_follows_from_its_weights(chain, not_repeated):
    """What a head writes counts twice in the logits. Before, the movers look at both names alike."""
    found = HeadForcing(toward=("wrong",), taken="all").run(on(chain, not_repeated)).arrays["change"].values
    both_turn_away, mover_alone, against_alone = 2 * (3 - 1), -2 * 3, 2 * 1
    assert_edges(chain, found, inhibition=both_turn_away, mover=mover_alone, against=against_alone)


def test_the_more_a_head_carries_the_more_forcing_it_does(chain, not_repeated):
    """Of all twelve heads three carry the first task to the last token: the order of the second task is theirs."""
    first = Stage(shares(chain, "logits"), reach=3)
    second = Stage(shares(chain, (*chain.placed["mover"], "q"), token="end"), reach=2)
    effect = HeadForcing(toward=("wrong",), taken="all").run(on(chain, not_repeated)).arrays["change"].values
    found = correlation([first, second], effect, np.random.default_rng(0))
    expected = spearmanr(np.abs(first.shares) + np.abs(second.shares), np.abs(effect), axis=None).statistic
    assert found[0].value == pytest.approx(expected)
    assert expected > 0.9


def test_without_its_inhibition_head_the_chain_cannot_tell_the_names_apart(chain):
    for role, after in (("inhibition", 0), ("duplicate", 0), ("no inhibition", 1), ("against", 1)):
        found = BlockHeads(heads=(name_of(chain, role),), num_draws=3).run(on(chain, chain.pairs))
        assert accuracies(found, "blocked")[:2] == [1, after]
    found = BlockHeads(heads=(name_of(chain, "inhibition"),), num_draws=3).run(on(chain, chain.pairs))
    assert accuracies(found, "blocked")[2] == 1
