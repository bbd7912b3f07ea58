"""Checking between servers: build the package of each integration, publish it, have the agents of its role look.

1. ask       what the servers of role `to` are called, and the hosts of role `from`
2. build     a package whose health checks have these addresses    clarion_controller/integration.py
3. publish   into the cluster to which the hosts belong
4. deploy    to the hosts of `from`, all at once, signed like any deployment
5. judge     a host that did not commit says which check failed, and why
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from clarion_controller.api.answers import DeploymentAnswer
from clarion_controller.fleet_toml.roles import INTEGRATION_APP, Integration
from clarion_controller.integration import Source, source_of
from clarion_controller.nightly.rehearsal_order import Orderer, Wish, begin, failed, finish, last_log
from clarion_controller.nightly.report import Check, Result
from clarion_controller.publish import publish
from clarion_protocol.errors import ClarionError

ROUND = 150.0  # seconds beyond the check's own time: to fetch it, and to notice that a host is silent


@dataclass(frozen=True)
class Member:
    """A server as others see it: what it is called, where it answers, and whether an agent can look from it."""

    name: str
    address: str
    has_agent: bool = True


@dataclass(frozen=True)
class Ground:
    """Where integrations are checked: the cluster in `home`, who orders there, and the servers of each role.

    `programs` is the folder to which the programs of exec checks are relative, `work` one for files in between.
    """

    home: Path
    orderer: Orderer
    members: Mapping[str, Sequence[Member]]
    programs: Path
    work: Path


def check_between(ground: Ground, integration: Integration) -> Check:
    """Return whether what must answer between two roles does; whatever goes wrong is in the check."""
    began = time.monotonic()
    if missing := _missing(ground, integration):
        return _check(ground, integration, Result.SKIPPED, missing)
    try:
        deployment = _carry_out(ground, integration)
    except ClarionError as error:
        found = _check(ground, integration, Result.BROKEN, error.message)
    else:
        found = _judge(ground, integration, deployment)
    return msgspec.structs.replace(found, seconds=time.monotonic() - began)


def _missing(ground: Ground, integration: Integration) -> str:
    """Return why nobody can look, or nothing."""
    if not any(member.has_agent for member in ground.members.get(integration.from_, ())):
        return f"no server of role {integration.from_} with an agent is there"
    return "" if ground.members.get(integration.to) else f"no server of role {integration.to} is there"


def _carry_out(ground: Ground, integration: Integration) -> DeploymentAnswer:
    addresses = [member.address for member in ground.members[integration.to]]
    source = source_of(integration, addresses, ground.programs)
    _publish(ground, source)
    hosts = sorted(member.name for member in ground.members[integration.from_])
    wish = Wish(INTEGRATION_APP, source.version, hosts, reason=f"check: {integration.name}"[:200])
    return finish(ground.orderer, begin(ground.orderer, wish), integration.timeout + ROUND)


def _publish(ground: Ground, source: Source) -> None:
    built = source.build(ground.work)
    try:
        publish(ground.home, built.package, built.manifest)
    finally:
        built.package.unlink(missing_ok=True)
        built.manifest.unlink(missing_ok=True)


def _judge(ground: Ground, integration: Integration, deployment: DeploymentAnswer) -> Check:
    behind = failed(deployment)
    if not behind:
        return _check(ground, integration, Result.WORKS, "")
    lines = [f"{host.name}: {_why(host.reason, integration)}" for host in behind]
    log = last_log(ground.orderer.controller, deployment, behind[0].name)
    found = _check(ground, integration, Result.BROKEN, lines[0])
    return msgspec.structs.replace(found, findings=tuple(lines), log=log)


def _why(reason: str, integration: Integration) -> str:
    """Return the part of a host's reason that says what a check found; all of it if something else failed."""
    _, _, found = reason.partition(f" within {integration.timeout}: ")
    return found.partition("; back on ")[0] or reason


def _check(ground: Ground, integration: Integration, result: Result, reason: str) -> Check:
    environment = ground.orderer.environment
    return Check(name=name_of(integration, environment), environment=environment, result=result, reason=reason)


def name_of(integration: Integration, environment: str) -> str:
    """Return what the check of an integration is called, every night the same."""
    return f"integration {integration.name} in {environment}"
