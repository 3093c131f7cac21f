"""`dimscope states`: take sentence states, average them over seeds, look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cyclopts import App

from dimscope.cli.options import DEFAULT_TASK, BenchFlags, TaskFlags
from dimscope.cli.terminal import DEFAULTS, watching
from dimscope.core.errors import UserError
from dimscope.store.states import average, open_states, save_states

app = App(name="states", default_parameter=DEFAULTS, help_format="plaintext")


@app.command
def take(
    *,
    bench: BenchFlags,
    task: TaskFlags = DEFAULT_TASK,
    split: Literal["train", "validation"] = "validation",
    site: str = "final",
    pooling: Literal["auto", "first", "last", "mean"] = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
) -> None:
    """Take the states of a split, pretrained or (with --checkpoint) fine-tuned, and print the folder that holds them.

    Parameters
    ----------
    split:
        Sentences to take.
    site:
        Where in the network: embed, layers.3.out, final, …
    pooling:
        Which state stands for a sentence; auto: the first token's in encoders, the last real token's in decoders.
    precision:
        Precision of the network's products; bfloat16 is faster where the processor has it, and off by half a percent.
    """
    with watching(bench.out):
        studied = bench.bench(task)
        studied.states(split, site, pooling, precision)
        folder = studied.states_folder(split, site, pooling, precision)
    print(folder)


@app.command(name="average")
def average_folders(*folders: Path, to: Path) -> None:
    """Average states of the same sentences, taken under several seeds, sentence by sentence.

    Parameters
    ----------
    folders:
        Folders that `dimscope states take` printed.
    to:
        Folder for the average.
    """
    if to.exists() and not (to / "manifest.json").is_file():
        raise UserError(f"{to} holds something else than states: choose another folder with --to")
    opened = [open_states(folder) for folder in folders]
    save_states(to, average(opened), {"average_of": [dict(each.about) for each in opened]})
    print(to)


@app.command
def show(folder: Path, /) -> None:
    """Print what stored states are the states of, without reading them.

    Parameters
    ----------
    folder:
        A folder of states.
    """
    states = open_states(folder)
    print(f"{states.shape[0]} sentences x {states.shape[1]} dims, float32, intact: {states.is_intact()}")
    for name, value in states.about.items():
        print(f"{name}: {value}")
