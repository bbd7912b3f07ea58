"""`clarion hosts`: who is there, who may come, who must go."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from clarion_controller.api.answers import HostAnswer, InviteAnswer, InviteRequest
from clarion_controller.cli import options
from clarion_controller.cli.client import Controller
from clarion_controller.cli.ordering import confirm
from clarion_controller.cli.place import place_of
from clarion_controller.cli.show import ago, date, note, say, show_json, show_table
from clarion_controller.cli.status import connection
from clarion_controller.cli.verbs import new_program

app = new_program()


@app.callback(invoke_without_command=True)
def hosts(
    context: typer.Context,
    *,
    environment: options.SomeEnvironment = None,
    json: options.Json = False,
) -> None:
    """List hosts, invite new ones, revoke lost ones."""
    if context.invoked_subcommand:
        return
    found = Controller(place_of(context).api).hosts(environment)
    if json:
        show_json(found)
        return
    if not found:
        note("No host has joined yet: 'clarion hosts invite NAME -e ENVIRONMENT'.")
        return
    show_table(["host", "environment", "is", "seen", "runs", "agent", "load", "disk free"], map(_line, found))


@app.command()
def invite(  # noqa: PLR0913 (each parameter is an option)
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Bind the token to this host name.", show_default=False)
    ] = None,
    *,
    environment: options.Environment,
    count: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="How many hosts may use it, for images.")
    ] = 1,
    group: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="A group the host belongs to; may be repeated.")
    ] = None,
    ttl: Annotated[str, typer.Option(metavar="TIME", help="How long it can be used.")] = "15m",
    json: options.Json = False,
) -> None:
    """Make a join token for new hosts; it is shown only this once."""
    request = InviteRequest(
        environment=environment, name=name, groups=group or [], count=count, ttl=float(options.duration(ttl, "--ttl"))
    )
    answer = Controller(place_of(context).api).invite(request)
    if json:
        show_json(answer)
    else:
        _show_token(answer, request)


@app.command()
def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The host.", show_default=False)],
    *,
    environment: options.Environment,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Shut a host out; what runs there goes on running."""
    if not yes:
        confirm(f"Revoke {name} in {environment}? What runs there goes on running.")
    answer = Controller(place_of(context).api).revoke(name, environment)
    if json:
        show_json(answer)
    else:
        say(f"{answer.name} is revoked in {answer.environment}.")


def _show_token(answer: InviteAnswer, request: InviteRequest) -> None:
    """Write the token alone to stdout, so that a script can take it; the explanation goes to stderr."""
    uses = "once" if request.count == 1 else f"{request.count} times"
    note(f"Run this on the host. It can be used {uses}, until {date(answer.expires)}:")
    note("")
    note("  clarion-agent join TOKEN")
    note("")
    say(answer.token)


def _line(host: HostAnswer) -> list[str]:
    facts = host.facts
    return [
        host.name,
        host.environment,
        connection(host),
        ago(host.last_seen, time.time()),
        ", ".join(f"{running.app} {running.version}" for running in host.running) or "-",
        facts.agent_version if facts else "-",
        f"{facts.load:.1f} of {facts.cpus}" if facts else "-",
        f"{facts.disk_free / 1e9:.1f} GB" if facts else "-",
    ]
