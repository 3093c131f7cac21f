import pytest
from torch import nn

from dimscope.core.errors import UserError
from dimscope.training.chosen import body_parameters, chosen_parameters, head_parameters, train_only

HEADS = {
    "bert": ["classifier."],
    "roberta": ["classifier.dense.", "classifier.out_proj."],
    "distilbert": ["pre_classifier.", "classifier."],
    "gpt2": ["score."],
}


@pytest.mark.parametrize("family", HEADS)
def test_the_head_is_what_stands_outside_the_base(family, tiny_network):
    model = tiny_network(family).model
    expected = {name for name, _ in model.named_parameters() if name.startswith(tuple(HEADS[family]))}
    assert set(head_parameters(model)) == set(chosen_parameters(model, "head")) == expected
    assert body_parameters(model, "head") == {}


@pytest.mark.parametrize("family", ["bert", "gpt2", "albert", "modernbert"])
def test_all_are_all(family, tiny_network):
    model = tiny_network(family).model
    assert sorted(chosen_parameters(model, "all")) == sorted(dict(model.named_parameters()))


def test_biases_are_every_vector_that_is_added(tiny_network):
    """In BERT: of each linear map and norm one, and no other parameter is called so."""
    model = tiny_network("bert").model
    base = model.base_model
    biases = {id(part.bias) for part in base.modules() if isinstance(part, nn.Linear | nn.LayerNorm)}
    assert {id(parameter) for parameter in body_parameters(model, "biases").values()} == biases
    # 32 dims: 1 norm of embeddings; per layer query, key, value, output, 2 norms, 64 inner ones, 32 outer; the pooler.
    assert sum(each.numel() for each in body_parameters(model, "biases").values()) == 32 + 2 * (4 + 2 + 2 + 1) * 32 + 32


@pytest.mark.parametrize(
    ("family", "last"),
    [
        ("bert", "bert.encoder.layer.1."),
        ("gpt2", "transformer.h.1."),
        ("distilbert", "distilbert.transformer.layer.1."),
    ],
)
def test_the_last_layer_is_the_last_block(family, last, tiny_network):
    model = tiny_network(family).model
    expected = {name for name, _ in model.named_parameters() if name.startswith(last)}
    assert set(body_parameters(model, "last_layer")) == expected
    assert len(expected) > 8


def test_a_pattern_goes_by_full_names_and_under_every_name_of_tied_weights(tiny_folder, tiny_network):
    model = tiny_network("bert").model
    assert set(body_parameters(model, "*layer.0.*query*")) == {
        f"bert.encoder.layer.0.attention.self.query.{part}" for part in ("weight", "bias")
    }
    tied = nn.Module()
    tied.base_model = nn.Module()
    tied.base_model.first = nn.Linear(2, 2)
    tied.base_model.second = nn.Linear(2, 2)
    tied.base_model.second.weight = tied.base_model.first.weight
    assert set(body_parameters(tied, "*second.weight")) == {"base_model.first.weight"}


def test_what_a_model_has_not_is_told(tiny_network):
    with pytest.raises(UserError, match=r"LlamaForSequenceClassification has no biases: wanted all, "):
        body_parameters(tiny_network("llama").model, "biases")
    with pytest.raises(UserError, match="all layers of AlbertForSequenceClassification are one block"):
        body_parameters(tiny_network("albert").model, "last_layer")
    with pytest.raises(UserError, match=r"no parameter is called 'heads': wanted all, .*head, or a pattern"):
        body_parameters(tiny_network("bert").model, "heads")


def test_the_others_are_frozen_and_those_frozen_before_are_not():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).requires_grad_(False)
    train_only(model, [model[1].bias])
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, False, True]
