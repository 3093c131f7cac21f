"""Training the rows of the words that occur against training the whole table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dimscope.data.batching import Encoded
from dimscope.models.load import load
from dimscope.training import loop, words
from dimscope.training.loop import TrainingSet, adamw, train
from dimscope.training.settings import TrainingSettings
from dimscope.training.words import OccurringWords, WholeTable, words_to_train

IDS = [np.array(each, np.int32) for each in ([5, 6, 7], [7, 8], [9, 5, 5, 30], [31], [8, 30, 6], [5])]
DATA = TrainingSet(Encoded(IDS, None, 0, 0), np.array([0, 1, 0, 1, 1, 0]))


def settings(**changed):
    given = {"learning_rate": 1e-2, "epochs": 3, "batch_size": 2, "precision": "float32", "weight_decay": 0.3}
    return TrainingSettings(**{**given, **changed})


def trained(family, monkeypatch=None, after_epoch=lambda network: None, **changed):
    """Train, the whole table where it can be patched, and give all weights."""
    network = load(f"tiny/{family}", seed=1)
    if monkeypatch:
        whole = WholeTable(network.model.get_input_embeddings(), is_sparse=False)
        monkeypatch.setattr(loop, "words_to_train", lambda *_: whole)
    losses = train(network, DATA, settings(**changed), 1, lambda epoch: after_epoch(network))
    return losses, {name: each.detach() for name, each in network.model.named_parameters()}


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
@pytest.mark.parametrize("changed", [{}, {"weight_decay": 0.0}, {"schedule": "linear"}, {"clip_norm": 0.1}])
def test_the_weights_are_those_of_training_the_whole_table(family, changed, monkeypatch):
    losses, found = trained(family, **changed)
    expected_losses, expected = trained(family, monkeypatch, **changed)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_rows_that_occur_nowhere_have_the_very_bits(monkeypatch):
    name = "bert.embeddings.word_embeddings.weight"
    occur = sorted({0, *np.concatenate(IDS).tolist()})
    (_, found), (_, expected) = trained("bert"), trained("bert", monkeypatch)
    start = dict(load("tiny/bert", seed=1).model.named_parameters())[name]
    others = np.delete(np.arange(len(start)), occur)
    assert torch.equal(found[name][others], expected[name][others])
    assert not torch.isclose(found[name][others], start[others]).all()


def test_the_table_is_up_to_date_after_every_epoch(monkeypatch):
    def tables(monkeypatch=None):
        seen = []
        trained("bert", monkeypatch, lambda network: seen.append(network.model.get_input_embeddings().weight.clone()))
        return seen

    found, expected = tables(), tables(monkeypatch)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    assert not torch.equal(found[0], found[1])


def test_rows_shrink_whatever_their_number(monkeypatch):
    monkeypatch.setattr(words, "_ROWS_AT_ONCE", 7)
    test_rows_that_occur_nowhere_have_the_very_bits(monkeypatch)


def test_what_is_padded_with_occurs():
    """RoBERTa's padding has a row whose gradient is none, wherever it stands among the rows that occur."""
    network = load("tiny/roberta", seed=1)
    occurring = words_to_train(network, IDS, adamw(network, settings()))
    ids = torch.tensor([[5, network.pad_id], [30, 9]])
    table = network.model.get_input_embeddings()
    torch.testing.assert_close(occurring(ids), table(ids))
    occurring(ids).sum().backward()
    gradient = occurring.weight.grad.to_dense()
    assert len(gradient) == len({*np.concatenate(IDS), network.pad_id}) < len(table.weight)
    assert gradient.sum() == 3 * network.hidden_size


class OtherAdamW(torch.optim.AdamW):
    """One that may do anything with what it is given."""


def other(network, settings):
    return OtherAdamW(network.model.parameters())


def head_alone(network, settings):
    return torch.optim.AdamW(network.model.classifier.parameters())


@pytest.mark.parametrize(("family", "optimizer"), [("bert", other), ("bert", head_alone), ("gpt2", adamw)])
def test_where_it_would_not_be_the_same_the_table_is_whole(family, optimizer):
    network = load(f"tiny/{family}", seed=1)
    given = optimizer(network, settings())
    before = [id(each) for group in given.param_groups for each in group["params"]]
    assert not isinstance(words_to_train(network, IDS, given), OccurringWords)
    assert [id(each) for group in given.param_groups for each in group["params"]] == before
