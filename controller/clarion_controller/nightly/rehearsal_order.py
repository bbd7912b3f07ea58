"""Deploying without a person: plan, check, sign, hand over, wait; every host at once, each with its own result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clarion_controller.api.answers import DeploymentAnswer, HostProgress, LogAnswer, PlanRequest
from clarion_controller.client.calls import Controller
from clarion_controller.client.follow import follow
from clarion_controller.client.plan import plan
from clarion_protocol.documents import Plan
from clarion_protocol.keys import SigningKey
from clarion_protocol.words import HostStatus, Strategy


@dataclass(frozen=True)
class Orderer:
    """Who orders, where: a controller, one of its environments, a deployer's key; `actor` is for people to read."""

    controller: Controller
    environment: str
    key: SigningKey
    actor: str


@dataclass(frozen=True)
class Wish:
    """A version for some hosts. Beyond `max_failures` no further host begins; who has begun always finishes."""

    app: str
    version: str
    hosts: Sequence[str]
    max_failures: int = 0
    reason: str = ""


def begin(orderer: Orderer, wish: Wish) -> DeploymentAnswer:
    """Order a wish on all its hosts at once; nobody is ever ordered back.

    Raises:
        ClarionError: it cannot be done; nothing was signed.
    """
    request = PlanRequest(
        app=wish.app,
        environment=orderer.environment,
        version=wish.version,
        hosts=list(wish.hosts),
        plan=_at_once(wish.max_failures),
        reason=wish.reason,
        actor=orderer.actor,
    )
    answer = plan(orderer.controller, request, {})
    return orderer.controller.order(answer.deployment.sealed(orderer.key))


def _at_once(max_failures: int) -> Plan:
    return Plan(
        type=Strategy.ALL_AT_ONCE,
        max_parallel="100%",
        max_failures=max_failures,
        max_unreachable="100%",
        auto_rollback=False,
    )


def finish(orderer: Orderer, deployment: DeploymentAnswer, timeout: float) -> DeploymentAnswer:
    """Wait until a deployment is over and return how it ended.

    Raises:
        WaitTimedOut: it was not over after `timeout` seconds, and still goes on.
        ControllerUnreachable: its controller has gone.
    """
    *_, last = follow(orderer.controller, deployment, timeout)
    return last


def failed(deployment: DeploymentAnswer) -> list[HostProgress]:
    """Return the hosts that did not commit, those that say why first."""
    behind = [host for host in deployment.hosts if host.status is not HostStatus.COMMITTED]
    return sorted(behind, key=lambda host: (host.status is HostStatus.SKIPPED, host.name))


def last_log(controller: Controller, deployment: DeploymentAnswer, host: str) -> str:
    """Return the last log that a host reported of a deployment; "" if it reported none."""
    return next((each.log for each in _newest_first(controller, deployment, host) if each.log), "")


def last_stage(controller: Controller, deployment: DeploymentAnswer, host: str) -> str:
    """Return the last stage that a host reported of a deployment; "" if it reported none."""
    return next((each.stage for each in _newest_first(controller, deployment, host) if each.stage), "")


def _newest_first(controller: Controller, deployment: DeploymentAnswer, host: str) -> list[LogAnswer]:
    # Asked for one host, the controller refuses a host that has no agent.
    return [each for each in reversed(controller.logs(deployment.id)) if each.host == host]
