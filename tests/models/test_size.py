import pytest
from torch import nn

from dimscope.models.size import size


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "roberta"])
def test_the_size_is_that_of_the_opened_model(tiny_folder, tiny_network, family):
    model = tiny_network(family).model.base_model
    # The pooler of a published encoder is drawn anew where its file lacks it.
    stored = [(name, part) for name, part in model.named_parameters() if "pooler" not in name]
    looked_up = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    found = size(tiny_folder(family))
    pooled = sum(part.numel() for name, part in model.named_parameters() if "pooler" in name)
    assert found.num_parameters in (expected := sum(part.numel() for _, part in stored), expected + pooled)
    exact = sum(part.numel() for _, part in stored if id(part) not in looked_up)
    assert exact * 0.98 <= found.num_multiplied <= exact + pooled


def test_shards_are_added_up(tiny_folder, tiny_network, tmp_path):
    tiny_network("bert").model.base_model.save_pretrained(tmp_path, max_shard_size="30KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert size(tmp_path).num_parameters == sum(part.numel() for part in tiny_network("bert").model.base_model.parameters())
