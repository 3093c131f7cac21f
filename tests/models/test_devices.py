from __future__ import annotations

import pytest
import torch

from dimscope.core.errors import UserError
from dimscope.models.devices import device_named


def test_auto_is_the_gpu_where_there_is_one(monkeypatch):
    for is_there, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda is_there=is_there: is_there)
        assert device_named("auto").type == kind


@pytest.mark.parametrize(("name", "part"), [("cuda", "sees no GPU"), ("tpu", "wanted the device 'auto'")])
def test_what_is_not_there_is_told(name: str, part: str, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=part):
        device_named(name)
