"""`dimscope check MODEL`: what holds of a model, tried on the model itself."""

from __future__ import annotations

from cyclopts.types import NonNegativeInt
from rich.console import Console
from rich.table import Table

from dimscope.activations.check import Check
from dimscope.cli.terminal import watching
from dimscope.core.errors import UserError
from dimscope.models.devices import device_named
from dimscope.models.load import load
from dimscope.soundness import soundness


def check(model: str, /, *, device: str = "auto", seed: NonNegativeInt = 1) -> None:
    """Try on a model everything that must hold before its numbers count: sites, padding, edits, training, checkpoint.

    Parameters
    ----------
    model:
        Alias (see `dimscope list models`), hub id, or local folder.
    device:
        cpu, cuda, or auto: the GPU if there is one.
    seed:
        Where everything random comes from.
    """
    with watching():
        checks = list(soundness(load(model, seed=seed, device=device_named(device)), seed))
    Console(highlight=False).print(_table(checks))
    failed = [each.name for each in checks if not each.holds]
    if failed:
        raise UserError(f"{model!r} is refused, because this does not hold: {', '.join(failed)}. Take another model")


def _table(checks: list[Check]) -> Table:
    table = Table("check", "holds", "what was seen", box=None, pad_edge=False)
    for each in checks:
        table.add_row(each.name, "yes" if each.holds else "NO", each.detail)
    return table
