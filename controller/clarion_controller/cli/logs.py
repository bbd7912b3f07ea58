"""`clarion logs`: what hosts reported, step by step."""

from __future__ import annotations

from typing import Annotated

import typer

from clarion_controller.api.answers import LogAnswer
from clarion_controller.cli import options
from clarion_controller.cli.place import place_of
from clarion_controller.cli.show import note, say, say_sentence, show_json
from clarion_controller.client.calls import Controller
from clarion_controller.texts import clock, one_line, printable


def logs(
    context: typer.Context,
    deployment: Annotated[str, typer.Argument(metavar="ID", help="The deployment, or the beginning of its id.")],
    host: Annotated[str | None, typer.Argument(metavar="HOST", help="Only this host.", show_default=False)] = None,
    *,
    json: options.Json = False,
) -> None:
    """Show what hosts reported of each step of a deployment."""
    entries = Controller(place_of(context).api).logs(deployment, host)
    if json:
        show_json(entries)
        return
    if not entries:
        note("No host has reported anything of it yet.")
    for entry in entries:
        _show(entry)


def _show(entry: LogAnswer) -> None:
    """Write one report: its head, its reason, then what the step wrote, without control characters."""
    say(f"{clock(entry.at)}  {entry.host:16} {entry.stage or '':9} {entry.status.value}")
    if entry.reason:
        code = f" [{entry.error}]" if entry.error else ""
        say_sentence(f"{one_line(entry.reason)}{code}", indent=10)
    for line in entry.log.splitlines():
        say(f"          | {printable(line)}")
