"""Running a method on a bench: the same words give the finished run again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from dimscope.bench import Bench
from dimscope.core.errors import UnknownName, UserError, explain
from dimscope.core.method import Method
from dimscope.core.processes import is_main
from dimscope.core.provenance import provenance
from dimscope.core.result import Result
from dimscope.discovery import find_method
from dimscope.training.checkpoints import is_intact
from dimscope.training.processes import wait_for_all


def run(method: str | Method, bench: Bench, **settings: Any) -> Result:
    """Run a method on a bench and keep the result; a finished run of the same settings and bench is opened instead.

    Args:
        method: its name ('measure/outlier_dimensions'), or the method with its settings.
        bench: what is studied.
        settings: the method's settings, where it was named.

    Raises:
        UnknownName: no such method, or no such setting of it.
        UserError: a setting is out of its range.
    """
    asked = method if isinstance(method, Method) else configured(find_method(method), settings)
    resolved = asked.resolved(bench)
    name, key = resolved.name(), resolved.key(bench)
    found = bench.store.load_run(name, key)
    if found is not None and _checkpoint_is_intact(found, bench):
        return found
    if resolved.in_all_processes or is_main():
        started = time.monotonic()
        result = resolved.run(bench)
        finished = replace(
            result.at(bench.where),
            method=name,
            sources=resolved.sources,
            settings=resolved.model_dump(mode="json"),
            bench=bench.spec,
            provenance=provenance(time.monotonic() - started),
        )
        if is_main():
            bench.store.save_run(name, key, finished)
    wait_for_all()
    stored = bench.store.load_run(name, key)
    assert stored is not None
    return stored


def run_best(methods: Sequence[Method], benches: Sequence[Bench]) -> list[Result]:
    """Run all methods on the first bench, and the one of the highest accuracy there on the others too; give its runs.

    Raises:
        UserError: one of them cannot be run.
    """
    tried = [run(method, benches[0]) for method in methods]
    best = max(range(len(tried)), key=lambda index: tried[index].value("accuracy"))
    return [tried[best], *(run(methods[best], bench) for bench in benches[1:])]


def configured(method: type[Method], settings: dict[str, Any]) -> Method:
    """Make a method with these settings.

    Raises:
        UnknownName: it has no such setting.
        UserError: a setting is out of its range.
    """
    for name in settings:
        if name not in method.model_fields:
            raise UnknownName(f"setting of {method.name()}", name, method.model_fields)
    try:
        return method(**settings)
    except ValidationError as error:
        raise UserError(f"{method.name()} cannot be run with these settings: {explain(error)}") from error


def _checkpoint_is_intact(result: Result, bench: Bench) -> bool:
    return result.checkpoint is None or is_intact(bench.store.checkpoint(result.checkpoint))
