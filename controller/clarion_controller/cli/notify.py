"""`clarion notify`: who is told of what, what waits, what went wrong; and whether each channel works now."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from clarion_controller.cli import options
from clarion_controller.cli.place import Place, place_of
from clarion_controller.cli.show import aligned, note, say, say_sentence, show_json
from clarion_controller.cli.verbs import new_program
from clarion_controller.fleet_toml.channels import Channel
from clarion_controller.fleet_toml.fleet import FILE_NAME, Fleet, load_fleet, unknown
from clarion_controller.notice import Kind, Notice, Severity, Undelivered
from clarion_controller.texts import ago, one_line
from clarion_protocol.errors import ClarionError, NotDelivered

if TYPE_CHECKING:
    from clarion_controller.notifying.overview import ChannelStanding

app = new_program()


@app.callback(invoke_without_command=True)
def notify(context: typer.Context, *, json: options.Json = False) -> None:
    """List who is told of what, and what waits; test that they hear it."""
    if context.invoked_subcommand:
        return
    from clarion_controller.notifying.overview import overview  # noqa: PLC0415 (a test needs no database)

    home = place_of(context).home
    standings = overview(home)
    if json:
        show_json(standings)
    elif not standings:
        note(f"Nobody is told anything: {home / FILE_NAME} has no [[notify]] and no repository with a token.")
    else:
        _show(standings, {channel.name: channel for channel in load_fleet(home / FILE_NAME).notify})


def _show(standings: Sequence[ChannelStanding], channels: dict[str, Channel]) -> None:
    """Write a line for each channel, and below it what it gets and why the last attempt failed."""
    now = time.time()
    rows = [
        [each.name, each.way, str(each.pending), ago(each.last_sent, now), *map(_count, (each.open, each.given_up))]
        for each in standings
    ]
    head, *lines = aligned([["channel", "way", "pending", "last sent", "open", "given up"], *rows])
    say(head)
    for each, line in zip(standings, lines, strict=True):
        say(line)
        say_sentence(f"gets {gets(channels.get(each.name))}", indent=2)
        if each.last_error:
            say_sentence(f"last attempt: {one_line(each.last_error)}", indent=2)


def _count(number: int) -> str:
    return str(number) if number else ""


def gets(channel: Channel | None) -> str:
    """Return what a channel is told, in words; without channel it is a forge."""
    if channel is None:
        return "builds and deployments"
    kinds = ", ".join(kind.value for kind in channel.kinds) or "everything"
    urgent = "" if channel.min_severity is Severity.INFO else f" from {channel.min_severity.value} on"
    where = f" in {', '.join(channel.environments)}" if channel.environments else ""
    return f"{kinds}{urgent}{where}"


@app.command("test")
def try_now(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Only this channel; may be repeated.", show_default="all")
    ] = None,
) -> None:
    """Send each channel a test notice now, past the outbox."""
    place = place_of(context)
    fleet = load_fleet(place.home / FILE_NAME)
    channels = _chosen(fleet, names)
    if not channels:
        note(f"{place.home / FILE_NAME} has no [[notify]]: there is nobody to tell.")
        return
    width = max(len(channel.name) for channel in channels)
    failed = [channel.name for channel in channels if not _heard(channel, fleet, place, width)]
    if failed:
        raise NotDelivered(
            f"{len(failed)} of {len(channels)} did not hear it: {', '.join(failed)}",
            hint="Mend that, then 'clarion notify test' again.",
        )


def _chosen(fleet: Fleet, names: Sequence[str] | None) -> list[Channel]:
    known = {channel.name: channel for channel in fleet.notify}
    for name in names or ():
        if name not in known:
            raise unknown("channel", name, known, hint=f"Add a [[notify]] to {FILE_NAME}.")
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())


def _heard(channel: Channel, fleet: Fleet, place: Place, width: int) -> bool:
    """Return whether a channel took the notice, and say so."""
    from clarion_controller.notifiers.choose import notifier_of  # noqa: PLC0415 (only a test sends)

    who = f"{channel.name:{width}}  {channel.ways[0]}"
    try:
        notifier_of(channel, place.home, fleet.cluster.name).send(a_test(fleet.cluster.name))
    except (Undelivered, ClarionError) as error:
        reason, hint = _why(error, channel.name)
        say_sentence(f"failed  {who}: {one_line(reason)}")
        say_sentence(one_line(hint), indent=8)
        return False
    say(f"ok      {who}")
    return True


def _why(error: Undelivered | ClarionError, name: str) -> tuple[str, str]:
    """Return what is wrong, and what to do about it."""
    if isinstance(error, ClarionError):
        return error.message, error.hint or ""
    if error.is_final:
        return error.reason, f"Trying again is no use: correct [[notify]] {name} in {FILE_NAME}, or its secret."
    return error.reason, "A real notice would be tried again, for 3 days."


def a_test(cluster: str) -> Notice:
    """Return a notice that says only that it arrived."""
    id_, now = f"test-{secrets.token_hex(8)}", time.time()
    return Notice(
        id=id_,
        kind=Kind.TEST,
        severity=Severity.INFO,
        incident=id_,
        title="This is a test: notices arrive here",
        reason=f"Somebody typed 'clarion notify test' on {socket.gethostname()}.",
        since=now,
        at=now,
        next_command="clarion notify",
        cluster=cluster,
    )
