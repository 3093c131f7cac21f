"""Finished runs: a folder each, with settings, provenance, result and arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from dimscope.core.result import SCHEMA, Array, Number, Result
from dimscope.store.files import new_folder, write_bytes, write_json


def save_run(folder: Path, result: Result) -> None:
    """Write a run whole or not at all."""
    with new_folder(folder, replace=True) as new:
        write_json(
            new / "settings.json",
            {"method": result.method, "settings": result.settings, "bench": result.bench},
        )
        write_json(new / "provenance.json", result.provenance)
        write_bytes(
            new / "arrays.safetensors",
            save({k: np.ascontiguousarray(a.values) for k, a in result.arrays.items()}),
        )
        write_json(new / "result.json", _header(result) | {"numbers": numbers_to_json(result.numbers)})


def load_run(folder: Path) -> Result | None:
    """Open a run, or give None where there is none, or a damaged one."""
    try:
        return _opened(folder)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def numbers_to_json(numbers: Sequence[Number]) -> list[dict[str, Any]]:
    """Lay numbers out as the schema of result.json and summary.json has them."""
    return [asdict(number) for number in numbers]


def numbers_from_json(rows: Sequence[Mapping[str, Any]]) -> list[Number]:
    """Read what `numbers_to_json` gave; null stands for a number that does not exist (NaN)."""
    return [
        Number(
            **{
                **row,
                "value": _nan_for_none(row["value"]),
                "interval": tuple(map(_nan_for_none, row["interval"])) if row["interval"] else None,
            }
        )
        for row in rows
    ]


def _opened(folder: Path) -> Result:
    header, asked, provenance = (_read(folder / f"{part}.json") for part in ("result", "settings", "provenance"))
    values = load_file(folder / "arrays.safetensors")
    return Result(
        numbers=numbers_from_json(header["numbers"]),
        arrays={name: _array(values[name], about) for name, about in header["arrays"].items()},
        notes=tuple(header["notes"]),
        checkpoint=header["checkpoint"],
        method=header["method"],
        sources=tuple(header["sources"]),
        settings=asked["settings"],
        bench=asked["bench"],
        provenance=provenance,
    )


def _header(result: Result) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "method": result.method,
        "sources": list(result.sources),
        "notes": list(result.notes),
        "checkpoint": result.checkpoint,
        "arrays": {
            name: {
                "axes": list(array.axes),
                "unit": array.unit,
                "ticks": {k: list(v) for k, v in array.ticks.items()},
            }
            for name, array in result.arrays.items()
        },
    }


def _array(values: np.ndarray, about: Mapping[str, Any]) -> Array:
    return Array(values, tuple(about["axes"]), about["unit"], about["ticks"])


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _nan_for_none(value: float | None) -> float:
    return float("nan") if value is None else value
