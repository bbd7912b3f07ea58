"""Bringing every app that is in force to the fresh servers that should have it, all at the same time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from clarion_controller.api.answers import DeploymentAnswer, HostProgress
from clarion_controller.nightly.rehearsal_order import Orderer, Wish, begin, failed, finish, last_log, last_stage
from clarion_controller.nightly.servers import Server
from clarion_protocol.errors import ClarionError, ControllerUnreachable, WaitTimedOut
from clarion_protocol.words import HostStatus


def deploy_all(orderer: Orderer, servers: Sequence[Server], in_force: Mapping[str, str], until: float) -> None:
    """Deploy each app to those of `servers` that are well; what fails is noted with the server on which it does.

    Nobody waits beyond `until` (monotonic).

    Raises:
        ControllerUnreachable: the rehearsal's controller has gone.
    """
    began = time.time()
    well = {server.name: server for server in servers if server.is_well}
    # All begin before any is waited for: one app's health may depend on another's, on another server.
    begun = [_begin(orderer, well, app, version) for app, version in sorted(in_force.items())]
    for deployment in filter(None, begun):
        ended = _finish(orderer, deployment, until)
        _judge(orderer, ended, well)
        _time(ended, well, began)


def _begin(orderer: Orderer, well: Mapping[str, Server], app: str, version: str) -> DeploymentAnswer | None:
    meant = [name for name, server in well.items() if app in server.apps]
    if not meant:
        return None
    try:
        # One server's failure is not the others': each has its own say.
        return begin(orderer, Wish(app, version, meant, max_failures=len(meant)))
    except ControllerUnreachable:  # there is nothing left to order from
        raise
    except ClarionError as error:
        for name in meant:
            well[name].fail(f"{app} {version} could not be ordered: {error.message}")
        return None


def _finish(orderer: Orderer, deployment: DeploymentAnswer, until: float) -> DeploymentAnswer:
    try:
        return finish(orderer, deployment, max(until - time.monotonic(), 0.0))
    except WaitTimedOut:
        return orderer.controller.deployment(deployment.id)


def _judge(orderer: Orderer, deployment: DeploymentAnswer, well: Mapping[str, Server]) -> None:
    for host in failed(deployment):
        stage = last_stage(orderer.controller, deployment, host.name)
        log = last_log(orderer.controller, deployment, host.name)
        well[host.name].fail(_sentence(deployment, host, stage), log)


def _sentence(deployment: DeploymentAnswer, host: HostProgress, stage: str) -> str:
    what = f"{deployment.app} {deployment.version}"
    if not host.status.is_final:
        return f"{what} was not committed in time: it is {host.status.value} ({stage or 'nothing was reported'})"
    return f"{what} failed at {stage}: {host.reason}" if stage else f"{what}: {host.reason}"


def _time(deployment: DeploymentAnswer, well: Mapping[str, Server], began: float) -> None:
    for host in deployment.hosts:
        if host.status is HostStatus.COMMITTED:
            parts = well[host.name].parts
            parts["committed"] = max(parts.get("committed", 0.0), host.since - began)
