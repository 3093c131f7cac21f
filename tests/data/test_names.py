from __future__ import annotations

import subprocess
import sys

from dimscope.data.catalogue import _FOLDERS
from dimscope.data.names import prompts, tasks


def test_every_named_task_can_be_fetched_or_is_made():
    assert list(tasks()) == [*_FOLDERS, *prompts()]


def test_listing_imports_nothing_heavy():
    script = (
        "import sys; before = set(sys.modules); import dimscope.data.names; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    # The top of the library is imported beforehand: what it brings is its own affair.
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; import dimscope; {script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["dimscope"]
