"""Circuits whose every weight is known: a chain of heads set by hand, and a model made linear by frozen patterns.

The chain names who is not given twice. The duplicate head finds, at the second mention of a name, where its first
stands; the inhibition head brings that to the last token; the movers' queries turn away from it and bring the other
name. Norms are identities, scores are so far apart that a softmax is 0 and 1, and all numbers are small whole ones, so
that what has no effect has none at all.

The inhibition head tells of a mention that it looks at itself, too. So there is a second task that the chain cannot do
and can be made to do: with no name given twice nothing says which one is wrong, until the head is made to look at it.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from dimscope.activations.continuation import Continuation
from dimscope.activations.edits import Edit, Rows, edit
from dimscope.activations.patching import Reading, paths_to_logits
from dimscope.activations.patterns import attention_patterns
from dimscope.data.prompts.pairs import PromptPairs
from dimscope.methods.intervene.block_heads import BlockHeads
from dimscope.methods.intervene.force_attention import ForceAttention
from dimscope.methods.locate.direct_logit_attribution import contributions
from dimscope.methods.locate.head_forcing import HeadForcing
from dimscope.methods.locate.path_patching import PathPatching
from dimscope.models.load import Network
from dimscope.models.readout import Readout
from dimscope.scoring.circuits import Roles, Stage, correlation
from dimscope.scoring.metrics import bound

NUM_NAMES, NUM_HEADS, HEAD_DIM = 5, 4, 8
BEGIN, FILLER, END, NUM_TOKENS = 5, 6, 7, 8
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


def gpt2(num_layers, **sizes):
    shape = {"hidden_size": 32, "num_attention_heads": NUM_HEADS, "max_position_embeddings": 6, **sizes}
    config = AutoConfig.for_model(
        "gpt2", vocab_size=NUM_TOKENS, num_hidden_layers=num_layers, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=None, initializer_range=0.3, **shape,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).eval()


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
def chain(request):
    """The chain, its heads anywhere in their layers; all others and the MLPs read everything and write noise."""
    model, rng = gpt2(num_layers=3), np.random.default_rng(request.param)
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
    return SimpleNamespace(network=Network("chain", model, None, is_decoder=True), pairs=named_twice(), placed=placed)


def named_twice():
    """All prompts 'begin X Y filler S end', S being X or Y; the counterfactual names the other twice."""
    mentions = [(x, y) for x in range(NUM_NAMES) for y in range(NUM_NAMES) if x != y]
    rows = [(BEGIN, x, y, FILLER, again, END) for x, y in mentions for again in (x, y)]
    ids = np.array(rows)
    others = ids[:, 4]
    answers = ids[:, 1] + ids[:, 2] - others
    changed = ids.copy()
    changed[:, 4] = answers
    return pairs_of(ids, changed, answers, others)


def pairs_of(ids, changed, answers, others):
    texts = ("",) * len(ids)
    ends = np.full(len(ids), ids.shape[1] - 1)
    return PromptPairs("known", texts, texts, ids, changed, np.ones_like(ids), answers, others, {"end": ends})


def not_repeated():
    """All prompts 'begin X Y filler filler end'; right is one of the names, and nothing tells which."""
    mentions = [(x, y) for x in range(NUM_NAMES) for y in range(NUM_NAMES) if x != y]
    ids = np.array([(BEGIN, x, y, FILLER, FILLER, END) for x, y in mentions for _ in (x, y)])
    right = 1 + np.arange(len(ids)) % 2
    rows = np.arange(len(ids))
    pairs = pairs_of(ids, ids, ids[rows, right], ids[rows, 3 - right])
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


def test_forcing_the_heads_of_the_first_task_repairs_the_second(chain):
    """The heads are found by path patching on the first task alone, and their roles by stage and sign."""
    first = Stage(shares(chain, "logits"), reach=3)
    ends = [(each.layer, each.head, "q") for each in first.strongest(2)]
    second = Stage(shares(chain, *ends, token="end"), reach=2)
    roles = Roles.of([first, second], num_kept=2, num_inhibiting=3)
    assert [each.name for each in roles.all_forced] == [name_of(chain, each) for each in ("inhibition", "against")]
    forcing = {"toward": ("wrong",), "num_draws": 3}
    for forced in (roles.all_forced, roles.inhibiting):
        found = ForceAttention(heads=tuple(each.name for each in forced), **forcing).run(on(chain, not_repeated()))
        assert accuracies(found, "forced") == [0, 1, 0]
    mover = ForceAttention(heads=(name_of(chain, "mover"),), **forcing).run(on(chain, not_repeated()))
    assert accuracies(mover, "forced")[:2] == [0, 0]


def test_each_head_that_is_forced_alone_changes_what_follows_from_its_weights(chain):
    """What a head writes counts twice in the logits. Before, the movers look at both names alike."""
    found = HeadForcing(toward=("wrong",), taken="all").run(on(chain, not_repeated())).arrays["change"].values
    both_turn_away, mover_alone, against_alone = 2 * (3 - 1), -2 * 3, 2 * 1
    assert_edges(chain, found, inhibition=both_turn_away, mover=mover_alone, against=against_alone)


def test_the_more_a_head_carries_the_more_forcing_it_does(chain):
    """Of all twelve heads three carry the first task to the last token: the order of the second task is theirs."""
    first = Stage(shares(chain, "logits"), reach=3)
    second = Stage(shares(chain, (*chain.placed["mover"], "q"), token="end"), reach=2)
    effect = HeadForcing(toward=("wrong",), taken="all").run(on(chain, not_repeated())).arrays["change"].values
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


class FixedNorm(nn.Module):
    """A LayerNorm with its scale held."""

    def __init__(self, norm, scale):
        super().__init__()
        self.norm, self.scale = norm, scale

    def forward(self, states):
        return (states - states.mean(-1, keepdim=True)) * self.scale * self.norm.weight + self.norm.bias


@pytest.fixture(scope="module")
def linear():
    """A random decoder of attention alone, linear but for its patterns, in float64; and prompts, none as another."""
    model = gpt2(num_layers=3).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for values in model.parameters():
            if values.ndim == 1:
                values += 0.3 * torch.randn(values.shape, generator=generator, dtype=values.dtype)
    for block in model.transformer.h:
        block.ln_1 = nn.Identity()
        for each in block.mlp.c_proj.parameters():
            each.data.zero_()
    model.transformer.ln_f = FixedNorm(model.transformer.ln_f, scale=0.7)
    rng = np.random.default_rng(0)
    ids = rng.integers(NUM_TOKENS, size=(10, 6))
    network = Network("linear", model, None, is_decoder=True)
    batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.ones(10, 6, dtype=torch.long)}
    patterns = attention_patterns(network, batch, range(3))
    answers = rng.integers(NUM_TOKENS, size=10)
    return SimpleNamespace(
        network=network,
        ids=ids,
        answers=answers,
        others=(answers + rng.integers(1, NUM_TOKENS, size=10)) % NUM_TOKENS,
        patterns=[patterns[layer].numpy() for layer in range(3)],
    )


def changed_at(linear, *tokens):
    ids = linear.ids.copy()
    ids[:, tokens] = (ids[:, tokens] + 1 + np.arange(10)[:, None] % (NUM_TOKENS - 1)) % NUM_TOKENS
    return pairs_of(linear.ids, ids, linear.answers, linear.others)


def frozen(linear, rows=slice(None)):
    """Within the block every token attends as it does in the prompts."""
    return edit(
        linear.network,
        [Edit(f"layers.{layer}.attn.pattern", Rows(each[rows])) for layer, each in enumerate(linear.patterns)],
    )


def by_hand(linear, ids):
    """The logit difference of the model with frozen patterns, by matrix products alone."""
    model = linear.network.model
    weights = {name: values.detach().numpy() for name, values in model.named_parameters()}
    stream = weights["transformer.wte.weight"][ids] + weights["transformer.wpe.weight"]
    for layer, pattern in enumerate(linear.patterns):
        attn = f"transformer.h.{layer}.attn"
        values = (stream @ weights[f"{attn}.c_attn.weight"] + weights[f"{attn}.c_attn.bias"])[..., 64:]
        heads = np.einsum("bhqk,bkhd->bqhd", pattern, values.reshape(10, 6, NUM_HEADS, HEAD_DIM))
        stream = stream + heads.reshape(10, 6, 32) @ weights[f"{attn}.c_proj.weight"] + weights[f"{attn}.c_proj.bias"]
    centered = stream[:, -1] - stream[:, -1].mean(-1, keepdims=True)
    normed = centered * 0.7 * weights["transformer.ln_f.norm.weight"] + weights["transformer.ln_f.norm.bias"]
    logits = normed @ weights["lm_head.weight"].T
    return logits[np.arange(10), linear.answers] - logits[np.arange(10), linear.others]


def direct_effects(linear, pairs, patterns_are_frozen=True):
    """What every head changes along its own path to the logits: [heads, pairs]."""
    sites = tuple(f"layers.{layer}.attn.heads" for layer in range(3))
    senders = [(layer, head) for layer in range(3) for head in range(NUM_HEADS)]
    found = []
    for row in range(len(pairs)):
        one = pairs.at(np.array([row]))
        inputs = [{"input_ids": torch.from_numpy(ids)} for ids in (one.ids, one.counterfactual_ids)]
        with frozen(linear, slice(row, row + 1)) if patterns_are_frozen else nullcontext():
            mask = torch.from_numpy(one.mask)
            runs = [Continuation(linear.network, {**each, "attention_mask": mask}, sites=sites) for each in inputs]
        reading = Reading(*bound("logit_difference", one.answers, one.others))
        found.append(paths_to_logits(*runs, senders, reading) - reading.of_unchanged(runs[0]))
    return torch.cat(found, dim=1).numpy()


def test_direct_effects_of_all_heads_sum_to_the_total(linear):
    pairs = changed_at(linear, 0, 3)
    total = by_hand(linear, pairs.counterfactual_ids) - by_hand(linear, pairs.ids)
    assert np.abs(total).min() > 1e-3
    np.testing.assert_allclose(direct_effects(linear, pairs).sum(axis=0), total, rtol=0, atol=1e-10)


def test_direct_effects_of_two_changes_add_up_for_every_head_once_patterns_are_frozen(linear):
    both_changed, *alone = (changed_at(linear, *tokens) for tokens in ((0, 3), (0,), (3,)))

    def excess(patterns_are_frozen):
        together, *apart = (direct_effects(linear, each, patterns_are_frozen) for each in (both_changed, *alone))
        return np.abs(together - sum(apart)).max()

    assert excess(patterns_are_frozen=True) < 1e-10
    assert excess(patterns_are_frozen=False) > 1e-2


def test_differences_of_what_heads_add_directly_sum_to_the_total(linear):
    """States are kept in float32, hence the tolerance."""
    pairs = changed_at(linear, 0, 3)
    total = by_hand(linear, pairs.counterfactual_ids) - by_hand(linear, pairs.ids)
    readout = Readout.of(linear.network)
    for row in range(len(pairs)):
        one = pairs.at(np.array([row]))
        with frozen(linear, slice(row, row + 1)):
            heads = [contributions(linear.network, readout, each)["heads"].sum() for each in (one, one.swapped())]
        # Swapped pairs ask for the other's logit over the answer's.
        assert -heads[1] - heads[0] == pytest.approx(total[row], abs=1e-5)
