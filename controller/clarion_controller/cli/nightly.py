"""`clarion nightly`: build what is in force anew, rehearse it on fresh servers, and say since when it is broken."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Annotated

import typer

from clarion_controller.cli import options
from clarion_controller.cli.place import place_of
from clarion_controller.cli.show import ENDLESS, console, note, show_error, show_json
from clarion_controller.cli.verbs import new_program
from clarion_controller.client.calls import Controller
from clarion_controller.nightly.history import Reports
from clarion_controller.nightly.wording import WIDTH, history_lines, text_of
from clarion_protocol.words import ExitCode

app = new_program()

NARROW = 60  # columns; a terminal that has fewer breaks lines itself
# At the beginning of a line, or after a night's date; the groups are the colours.
ENDED = r"^(?:\d{4}-\d\d-\d\d  )?(?:(?P<green>works|good)|(?P<red>broken)|(?P<yellow>skipped)) "


class Part(str, Enum):
    """Which half of a night is wanted."""

    REBUILD = "rebuild"
    SERVERS = "servers"


@app.callback(invoke_without_command=True)
def nightly(
    context: typer.Context,
    *,
    environment: Annotated[
        list[str] | None,
        typer.Option(
            "--environment", "-e", metavar="ENV", help="Only this environment; may be repeated.", show_default="all"
        ),
    ] = None,
    only: Annotated[Part | None, typer.Option(help="Only one half of it.", show_default=False)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing unless something is broken.")] = False,
    json: options.Json = False,
) -> int:
    """Rebuild all apps, rehearse them on fresh servers, report."""
    if context.invoked_subcommand:
        return ExitCode.COMMITTED
    # Half of the program; whoever only reads a report does without.
    from clarion_controller.nightly.evening import Evening, Wishes  # noqa: PLC0415
    from clarion_controller.nightly.run import run_night  # noqa: PLC0415

    wishes = Wishes(tuple(environment or ()), rebuild=only is not Part.SERVERS, servers=only is not Part.REBUILD)
    place = place_of(context)
    ended = run_night(Evening.at(place.home, Controller(place.api), wishes, _silent if quiet else note))
    for trouble in ended.troubles:
        show_error(trouble, None)
    if json:
        show_json(ended.report)
    elif not (quiet and ended.is_good):
        _tell(text_of(ended.report, _width(WIDTH)).splitlines())
    return ExitCode.COMMITTED if ended.is_good else ExitCode.FAILED


@app.command()
def report(
    context: typer.Context,
    night: Annotated[
        str | None, typer.Argument(metavar="NIGHT", help="Its date, as 2026-11-22.", show_default="the last")
    ] = None,
    *,
    json: options.Json = False,
) -> None:
    """Show what a night found."""
    reports = Reports(place_of(context).home)
    found = reports.read(night) if night else reports.last()
    if json:
        show_json(found)
    else:
        _tell(text_of(found, _width(WIDTH)).splitlines())


@app.command()
def history(context: typer.Context, *, json: options.Json = False) -> None:
    """List the nights whose reports are kept, newest first."""
    found = list(Reports(place_of(context).home).readable())
    if json:
        show_json(found)
        return
    if not found:
        note("There was no night yet: 'clarion nightly'.")
    for each in found:
        _tell(history_lines(each, _width(ENDLESS)))


def _width(most: int) -> int:
    """Return how many columns there are, `most` where nobody looks: in a file, a journal, a mail."""
    return min(most, max(console().width, NARROW))


def _tell(lines: Iterable[str]) -> None:
    """Write lines, each with how it ended in its colour."""
    from rich.text import Text  # noqa: PLC0415 (error messages come without rich, and sooner)

    terminal = console()
    for line in lines:
        text = Text(line)
        text.highlight_regex(ENDED)
        terminal.print(text, soft_wrap=True)


def _silent(_line: str) -> None:
    pass
