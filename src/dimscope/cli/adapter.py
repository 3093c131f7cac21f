"""`dimscope adapter`: look at what `finetune/random_subspace` leaves, and make a plain checkpoint of it."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from dimscope.cli.terminal import DEFAULTS, watching
from dimscope.core.errors import UserError
from dimscope.training.adapters import FILE, read_adapter
from dimscope.training.adapters import merge as merge_adapter

app = App(name="adapter", default_parameter=DEFAULTS, help_format="plaintext")


@app.command
def show(adapter: Path, /) -> None:
    """Print what an adapter is of: its base, seed, classes, settings, and how many numbers it holds.

    Parameters
    ----------
    adapter:
        An adapter.safetensors, or the checkpoint's folder that holds it.
    """
    found = read_adapter(_file(adapter))
    print(f"base: {found.base}, weights {found.base_digest}")
    print(f"seed: {found.seed}")
    print(f"classes: {', '.join(found.label_names)}")
    print(f"numbers: {sum(tensor.numel() for tensor in found.state.values())}")
    for name, value in found.settings:
        print(f"{name}: {value}")


@app.command
def merge(adapter: Path, /, *, out: Path, model: str | None = None) -> None:
    """Write the fine-tuned model as a checkpoint that needs no adapter, and print its folder.

    Parameters
    ----------
    adapter:
        An adapter.safetensors, or the checkpoint's folder that holds it.
    out:
        Folder for the checkpoint, which must not be there yet.
    model:
        Where the base is, if the adapter was trained under another name: alias, hub id, or local folder.
    """
    if out.exists():
        raise UserError(f"{out} is there already, and a checkpoint would replace it: choose another folder with --out")
    with watching():
        merge_adapter(_file(adapter), out, model)
    print(out)


def _file(adapter: Path) -> Path:
    return adapter / FILE if adapter.is_dir() else adapter
