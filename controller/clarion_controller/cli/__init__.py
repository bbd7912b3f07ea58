"""The command line `clarion`.

Reading order: `verbs.py` lists every verb; a verb lies in the file of its group; what
verbs share is `place.py` (which controller), `clarion_controller.client` (speaking to it), `show.py`
(tables, JSON, errors) and `verdict.py` (how a deployment ended, as sentence and exit code).

- A verb returns its exit code; none means 0.
- Whatever a person can cause ends in `error: what is wrong` and the next command, on stderr.
- Only the file of the verb that is used is imported, so `clarion --help` stays fast.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from clarion_controller.cli import place, verbs
from clarion_controller.cli.show import show_error
from clarion_controller.client import AS_ITS_USER
from clarion_protocol.errors import Blocked, ClarionError, OperatorError
from clarion_protocol.words import ExitCode

INTERRUPTED = 130  # 128 + SIGINT, as shells count it


def main() -> None:
    """Run what was typed; the entry point `clarion`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Return the exit code of the command line `arguments`."""
    try:
        where, rest = place.split(arguments)
        if not rest or rest[0] in ("--help", "-h", "help"):
            print(verbs.overview(), file=sys.stdout if rest else sys.stderr)
            return ExitCode.COMMITTED if rest else ExitCode.USAGE
        return _run_verb(rest[0], rest[1:], where)
    except ClarionError as error:
        show_error(error.message, error.hint)
        return exit_code_of(error)
    except PermissionError as error:
        show_error(f"you may not open {error.filename}", AS_ITS_USER)
        return ExitCode.FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`clarion history | head`); Python must not complain about it at its end.
        sys.stderr.close()
        return ExitCode.FAILED


def _run_verb(name: str, arguments: Sequence[str], where: place.Place) -> int:
    if name == "--version":
        verbs.show_version()
        return ExitCode.COMMITTED
    program = verbs.load(name)
    try:
        code = program(args=list(arguments), prog_name=f"clarion {name}", standalone_mode=False, obj=where)
    except typer.TyperException as error:
        what = error.format_message().replace(": Value error, ", ": ")  # a word of typer's own parser
        show_error(what, f"Run 'clarion {name} --help' for how it is used.")
        return ExitCode.USAGE
    except typer.Abort:
        show_error("nothing was done", None)
        return ExitCode.FAILED
    return int(code or ExitCode.COMMITTED)


def exit_code_of(error: ClarionError) -> ExitCode:
    """Return the exit code that tells a script whose fault `error` was."""
    if isinstance(error, Blocked):
        return ExitCode.BLOCKED
    return ExitCode.USAGE if isinstance(error, OperatorError) else ExitCode.FAILED
