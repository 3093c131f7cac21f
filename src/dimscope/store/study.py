"""study.json: what was asked of an output folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dimscope.core.errors import UserError
from dimscope.store.files import write_json


def write_study(out: Path, recipe: str, settings: Mapping[str, Any]) -> None:
    """Note what is asked; the same words again continue the study.

    Raises:
        UserError: the folder is another recipe's study, or holds something else.
    """
    path = out / "study.json"
    if path.exists():
        other, _ = open_study(out)
        if other != recipe:
            raise UserError(f"{out} is a study of {other!r}, not of {recipe!r}: choose another folder with --out")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty and not a study of dimscope's: choose another folder with --out")
    write_json(path, {"schema": 1, "recipe": recipe, "settings": dict(settings)})


def open_study(out: Path) -> tuple[str, dict[str, Any]]:
    """Give the recipe's name and settings.

    Raises:
        UserError: there is no study, or its study.json is damaged.
    """
    path = out / "study.json"
    if not path.is_file():
        raise UserError(f"wanted the folder of a study (with a study.json), found none at {out}")
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
        return study["recipe"], study["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: remove it and run `dimscope reproduce` with the same words") from error
