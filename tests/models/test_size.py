import pytest
from torch import nn

from dimscope.models.size import size


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "roberta"])
def test_the_size_is_that_of_the_opened_model(tiny_folder, tiny_network, family):
    model = tiny_network(family).model.base_model
    found = size(tiny_folder(family))
    assert found.num_parameters == sum(part.numel() for part in model.parameters())
    looked_up = sum(part.weight.numel() for part in model.modules() if isinstance(part, nn.Embedding))
    # The norm beside the embeddings goes with them.
    assert found.num_multiplied == pytest.approx(found.num_parameters - looked_up, rel=0.01)


def test_shards_are_added_up(tiny_network, tmp_path):
    model = tiny_network("bert").model.base_model
    model.save_pretrained(tmp_path, max_shard_size="30KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert size(tmp_path).num_parameters == sum(part.numel() for part in model.parameters())
