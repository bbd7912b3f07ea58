"""`clarion status` and `history`: what is wanted, what really runs, what was done."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from clarion_controller.api.answers import DeploymentAnswer, HostAnswer, StreamAnswer
from clarion_controller.cli import options
from clarion_controller.cli.ordering import watch_to_the_end
from clarion_controller.cli.place import place_of
from clarion_controller.cli.show import aligned, note, say, say_sentence, show_json, show_table
from clarion_controller.cli.verdict import trouble
from clarion_controller.client.calls import Controller
from clarion_controller.texts import ago, date, one_line, short
from clarion_protocol.words import DeploymentStatus, HostStatus

NOTHING_YET = "Nothing was deployed yet: 'clarion deploy APP VERSION -e ENVIRONMENT'."


def status(
    context: typer.Context,
    app: options.SomeApp = None,
    *,
    environment: options.SomeEnvironment = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the deployment that is under way.")] = False,
    json: options.Json = False,
) -> int:
    """Show what is wanted and what really runs, per host."""
    controller = Controller(place_of(context).api)
    streams = controller.status(environment, app)
    if json:
        show_json(streams)
        return 0
    if watch and (under_way := _under_way(streams)):
        return watch_to_the_end(controller, under_way, timeout=7 * 86400)
    if not streams:
        note(NOTHING_YET)
    for number, stream in enumerate(streams):
        if number:
            say()
        _show(stream)
    return 0


def history(
    context: typer.Context,
    app: options.SomeApp = None,
    *,
    environment: options.SomeEnvironment = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="How many.")] = 20,
    json: options.Json = False,
) -> None:
    """List deployments, newest first."""
    deployments = Controller(place_of(context).api).deployments(environment, app, limit)
    if json:
        show_json(deployments)
        return
    if not deployments:
        note(NOTHING_YET)
    lines = aligned([_line_of_history(each) for each in deployments])
    for line, each in zip(lines, deployments, strict=True):
        say(line)
        if each.status is not DeploymentStatus.SUCCEEDED:
            say_sentence(one_line(each.reason), indent=10)


def _under_way(streams: list[StreamAnswer]) -> DeploymentAnswer | None:
    running = [stream.deployment for stream in streams if stream.deployment and not stream.deployment.status.is_final]
    return running[0] if running else None


def _show(stream: StreamAnswer) -> None:
    say_sentence(f"{stream.app} in {stream.environment}: {_wanted(stream)}")
    if stream.deployment and not stream.deployment.status.is_final:
        for line in trouble(stream.deployment):
            say_sentence(line, indent=2)
    show_table(["host", "runs", "is", "seen", "remark"], [_line_of_host(stream, host) for host in stream.hosts])


def _wanted(stream: StreamAnswer) -> str:
    wanted = f"wanted {stream.wanted}" if stream.wanted else "nothing is wanted"
    deployment = stream.deployment
    if deployment is None:
        return wanted
    return f"{wanted}; deployment {short(deployment.id)} {deployment.status.value}: {one_line(deployment.reason)}"


def _line_of_host(stream: StreamAnswer, host: HostAnswer) -> list[str]:
    return [
        host.name,
        _runs(stream.app, host),
        connection(host),
        ago(host.last_seen, time.time()),
        _remark(stream, host),
    ]


def _runs(app: str, host: HostAnswer) -> str:
    for running in host.running:
        if running.app == app:
            return running.version + ("" if running.is_active else " (not active)")
    return "-"


def _version(app: str, host: HostAnswer) -> str | None:
    return next((running.version for running in host.running if running.app == app), None)


def connection(host: HostAnswer) -> str:
    """Return whether a host can be reached, in words."""
    if not host.is_enrolled:
        return "without agent"
    if host.is_connected and host.facts and host.facts.trouble:
        return "connected, refuses orders"
    if host.is_connected and host.clock:
        return f"connected, {host.clock}"
    return "connected" if host.is_connected else "not connected"


def _remark(stream: StreamAnswer, host: HostAnswer) -> str:
    if stream.app in host.drift:
        return HostStatus.DRIFTED.value
    stands = [each for each in stream.deployment.hosts if each.name == host.name] if stream.deployment else []
    if not host.is_connected and any(each.status is HostStatus.UNREACHABLE for each in stands):
        return HostStatus.UNREACHABLE.value
    if stream.deployment and not stands and host.is_enrolled:
        return "no target of it"
    is_left_over = stands and stream.deployment and stream.deployment.status.is_final
    return f"not {stream.wanted}" if is_left_over and stream.wanted not in (None, _version(stream.app, host)) else ""


def _line_of_history(deployment: DeploymentAnswer) -> list[str]:
    return [
        short(deployment.id),
        date(deployment.created),
        f"{deployment.app} {deployment.version} to {deployment.environment}",
        deployment.status.value,
        one_line(deployment.actor),
    ]
