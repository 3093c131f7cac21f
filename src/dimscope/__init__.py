"""Which small part of a transformer language model does this job, and how little of it is enough?

The public nouns are imported when they are first used, so that `dimscope --help` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_NOUNS = {
    "Bench": "dimscope.bench",
    "Number": "dimscope.core.result",
    "OneDimensionClassifier": "dimscope.numerics.one_dimension",
    "OutlierCallback": "dimscope.callback",
    "Result": "dimscope.core.result",
    "open_states": "dimscope.store.states",
    "run": "dimscope.running",
}
__all__ = list(_NOUNS)


def __getattr__(name: str) -> Any:
    if name not in _NOUNS:
        raise AttributeError(f"dimscope has no {name!r}; it has {', '.join(_NOUNS)}")
    return getattr(importlib.import_module(_NOUNS[name]), name)


def __dir__() -> list[str]:
    return __all__
