"""From data as they were found to a task: split, free of leaks, limited, with a note on everything that was done."""

from __future__ import annotations

from dimscope.core.errors import UserError
from dimscope.data.options import TaskOptions
from dimscope.data.splits import hold_out, limited, num_contradictory, without
from dimscope.data.task import Labeled, Split, Task


def prepare(name: str, found: Labeled, options: TaskOptions) -> Task:
    """Make the task.

    Raises:
        UserError: there are too few sentences to split or to limit, or none is left to hold out.
    """
    train, held_out = found.train, found.validation
    notes = list(found.notes)
    if held_out is None:
        train, held_out = hold_out(train, options.validation_fraction)
        notes.append(f"{len(held_out)} of {len(found.train)} sentences are held out, the same share of every class")
    validation = without(held_out, train)
    if len(validation) == 0:
        raise UserError(f"all held-out sentences of {name!r} also stand in its training data: give other ones")
    splits = {"training": train, "held-out": validation}
    notes += [
        *_counted(
            len(held_out) - len(validation), "held-out sentences also stand in the training data and are left out"
        ),
        *_counted(num_contradictory(train), "training sentences stand there again with another class"),
        *(note for kind, split in splits.items() for note in _counted(_num_empty(split), f"{kind} texts are empty")),
    ]
    if options.limit:
        sizes = {kind: (min(options.limit, len(split)), len(split)) for kind, split in splits.items()}
        notes += [f"{taken} of {total} {kind} sentences are taken" for kind, (taken, total) in sizes.items()]
        train, validation = (limited(split, options.limit) for split in splits.values())
    return Task(name, found.label_names, train, validation, tuple(notes))


def _counted(count: int, what: str) -> list[str]:
    return [f"{count} {what}"] if count else []


def _num_empty(split: Split) -> int:
    return sum(not text.strip() for texts in split.inputs() for text in texts)
