"""`clarion hosts`: who is there, who may come, who must go."""

from __future__ import annotations

from typing import Annotated

import typer

from clarion_controller.api.answers import HostAnswer, InvitationAnswer, InviteAnswer, InviteRequest, SourceAnswer
from clarion_controller.cli import options
from clarion_controller.cli.ordering import confirm
from clarion_controller.cli.place import place_of
from clarion_controller.cli.show import console, note, say, show_json, show_table
from clarion_controller.cli.show_hosts import picture_of, watch_hosts
from clarion_controller.cli.verbs import new_program
from clarion_controller.client.calls import Controller
from clarion_controller.host_filter import narrow
from clarion_controller.texts import date
from clarion_protocol.errors import BadConfig

app = new_program()


@app.callback(invoke_without_command=True)
def hosts(  # noqa: PLR0913 (each parameter is an option)
    context: typer.Context,
    *,
    environment: options.SomeEnvironment = None,
    tag: options.Tags = None,
    zone: options.Zones = None,
    group: options.Groups = None,
    limit: options.Limit = None,
    seed: options.Seed = "",
    watch: Annotated[bool, typer.Option("--watch", help="Show them until Ctrl-C, every two seconds anew.")] = False,
    json: options.Json = False,
) -> None:
    """List hosts, invite new ones, revoke lost ones."""
    if context.invoked_subcommand:
        return
    if json and watch:
        raise BadConfig("--watch draws a picture and --json writes for programs", hint="Leave one of them out.")
    controller = Controller(place_of(context).api)
    wanted = options.host_filter(tag, zone, group, limit, seed)

    def look() -> list[HostAnswer]:
        return narrow(controller.hosts(environment), wanted)

    if json:
        show_json(look())
    elif watch:
        watch_hosts(lambda: picture_of(look(), controller.sources(environment)))
    else:
        _show(look(), controller.sources(environment))


def _show(found: list[HostAnswer], sources: list[SourceAnswer]) -> None:
    if not found:
        note("No host has joined yet: 'clarion hosts invite NAME -e ENVIRONMENT'.")
    console().print(picture_of(found, sources))


@app.command()
def invite(  # noqa: PLR0913 (each parameter is an option)
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Bind the token to this host name.", show_default=False)
    ] = None,
    *,
    environment: options.Environment,
    count: Annotated[
        int, typer.Option(metavar="N", min=1, max=1_000_000, help="How many hosts may use it, for images.")
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
def revoke(  # noqa: PLR0913 (each parameter is an option)
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The host.", show_default=False)] = None,
    *,
    environment: options.Environment,
    gone: Annotated[
        bool, typer.Option("--gone", help="Every host whose server no source lists any more, and that is silent.")
    ] = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Shut a host out; what runs there goes on running."""
    controller = Controller(place_of(context).api)
    if gone == (name is not None):
        raise BadConfig("name one host, or write --gone", hint=f"Run 'clarion hosts -e {environment}' to see them.")
    names = [host.name for host in controller.hosts(environment) if is_gone(host)] if name is None else [name]
    if names and not yes:
        confirm(f"Revoke {', '.join(names)} in {environment}? What runs there goes on running.")
    answers = [controller.revoke(each, environment) for each in names]
    if json:
        show_json(answers if gone else answers[0])
        return
    for answer in answers:
        say(f"{answer.name} is revoked in {answer.environment}.")
    if answers:
        _warn_of_tokens(controller, environment)
    if not answers:
        note(f"No host of {environment} is gone.")


def _warn_of_tokens(controller: Controller, environment: str) -> None:
    """Say which tokens a host that was shut out may still hold: with one it would be in again."""
    for each in controller.invitations(environment):
        if each.name is None:
            note(f"Whoever has token {each.id} can still join: 'clarion hosts uninvite {each.id} -e {environment}'.")


def is_gone(host: HostAnswer) -> bool:
    """Return whether a host has an agent that is silent, and a server that no source lists."""
    return host.is_enrolled and not host.is_discovered and not host.is_connected


@app.command()
def invitations(
    context: typer.Context, *, environment: options.SomeEnvironment = None, json: options.Json = False
) -> None:
    """List the join tokens that can still be used; their secrets are not kept."""
    found = Controller(place_of(context).api).invitations(environment)
    if json:
        show_json(found)
    elif not found:
        note("No join token can be used now: 'clarion hosts invite NAME -e ENVIRONMENT' makes one.")
    else:
        show_table(["id", "environment", "for", "groups", "uses left", "expires"], map(_invitation, found))


@app.command()
def uninvite(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="ID", help="The token's id, not its secret.", show_default=False)],
    *,
    environment: options.Environment,
) -> None:
    """Withdraw a join token: nobody joins with it any more; who has joined stays."""
    Controller(place_of(context).api).withdraw(token, environment)
    say(f"Nobody joins {environment} with token {token} any more.")


def _invitation(each: InvitationAnswer) -> list[str]:
    return [
        each.id,
        each.environment,
        each.name or "any host",
        ", ".join(each.groups),
        str(each.uses_left),
        date(each.expires),
    ]


def _show_token(answer: InviteAnswer, request: InviteRequest) -> None:
    """Write the token alone to stdout, so that a script can take it; the explanation goes to stderr."""
    uses = "once" if request.count == 1 else f"{request.count} times"
    note(f"Run this on the host. It can be used {uses}, until {date(answer.expires)}:")
    note("")
    note("  clarion-agent join TOKEN")
    note("")
    note(f"If it gets into wrong hands: clarion hosts uninvite {answer.id} -e {request.environment}")
    note("")
    say(answer.token)
