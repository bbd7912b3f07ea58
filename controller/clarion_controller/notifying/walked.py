"""One deployment as far as people are told of it: who orders it, how it stands, who is behind; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from clarion_controller.fleet_toml.roles import INTEGRATION_APP
from clarion_controller.notifying.context import Context
from clarion_controller.notifying.moment import BREATH, MOMENT
from clarion_controller.state.events import (
    AbsentGone,
    AnyEvent,
    HostAdded,
    HostBack,
    HostLost,
    HostMoved,
    HostRemoved,
)
from clarion_protocol.words import DeploymentStatus, HostStatus, Intent

_ARRIVED = {
    DeploymentStatus.DEGRADED: {HostStatus.COMMITTED},
    DeploymentStatus.ROLLED_BACK: {HostStatus.ROLLED_BACK},
    DeploymentStatus.FAILED: {HostStatus.ROLLED_BACK},
}
_BEHIND = {HostStatus.FAILED, HostStatus.ROLLED_BACK}


class Told(NamedTuple):
    """The event that is told: its number and its time."""

    seq: int
    at: float


class Halt(msgspec.Struct, frozen=True):
    """A deployment was halted, which is not told yet: the event's number, its time, the reason."""

    seq: int
    at: float
    reason: str


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something is wrong with a stream: since when, through which deployment, and whether that was for all hosts."""

    name: str
    since: float
    deployment: str
    is_whole: bool


class Walked(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment. `behind` are hosts (names by id) that failed, went back or are lost; `absent` have no agent.

    `caught_up` is who caught up and is not told yet, `caught_at` when the first of them did.
    """

    id: str
    environment: str
    app: str
    version: str
    actor: str
    is_rollback: bool
    is_whole: bool
    since: float
    status: DeploymentStatus = DeploymentStatus.RUNNING
    behind: Mapping[str, str] = {}
    absent: tuple[str, ...] = ()
    caught_up: tuple[str, ...] = ()
    caught_seq: int = 0
    caught_at: float = 0.0
    halt: Halt | None = None

    @property
    def due(self) -> float | None:
        """When the next notice about it is due though nothing happens."""
        moments = [self.caught_at + MOMENT] if self.caught_up else []
        if self.halt:
            moments.append(self.halt.at + BREATH)
        return min(moments, default=None)

    @property
    def stream(self) -> str:
        """The stream in which it is counted."""
        return f"{self.environment}/{self.app}"


def began(context: Context, at: float) -> Walked | None:
    """Return the deployment of `context`, known since `at`; None if it is not to be told, or cannot be read."""
    document = context.deployment
    if document is None or document.app == INTEGRATION_APP:
        return None
    return Walked(
        id=context.id,
        environment=document.environment,
        app=document.app,
        version=document.version,
        actor=document.actor,
        is_rollback=document.intent is Intent.ROLLBACK,
        is_whole=document.targets.all,
        since=at,
    )


def moved(walked: Walked, seq: int, event: AnyEvent, context: Context) -> Walked:
    """Return the deployment after something happened to one of its hosts; itself if that is of no interest."""
    if isinstance(event, HostMoved):
        return _moved(walked, seq, event, context)
    if isinstance(event, HostLost):
        return _fell_behind(walked, event.host, context.name_of(event.host))
    if isinstance(event, (HostBack, HostRemoved)):
        # Who is back after the end still has to catch up.
        has_to = isinstance(event, HostBack) and walked.status in _ARRIVED
        return walked if has_to else _left(walked, event.host)
    if isinstance(event, HostAdded):
        return _added(walked, event)
    if isinstance(event, AbsentGone):
        return _present(walked, *event.names)
    return walked


def _moved(walked: Walked, seq: int, event: HostMoved, context: Context) -> Walked:
    if walked.status in _ARRIVED:
        is_there = event.host in walked.behind and event.status in _ARRIVED[walked.status]
        return _arrived(walked, seq, event) if is_there else walked
    if event.status in _BEHIND:
        return _fell_behind(walked, event.host, context.name_of(event.host))
    return _left(walked, event.host)


def _arrived(walked: Walked, seq: int, event: HostMoved) -> Walked:
    first = (walked.caught_seq, walked.caught_at) if walked.caught_up else (seq, event.at)
    names = (*walked.caught_up, walked.behind[event.host])
    return replace(_left(walked, event.host), caught_up=names, caught_seq=first[0], caught_at=first[1])


def _added(walked: Walked, event: HostAdded) -> Walked:
    """Let a host in; if it fills the place of one without agent when all is done, it has to catch up."""
    after = _present(walked, event.name, event.fills)
    is_awaited = after is not walked and walked.status is DeploymentStatus.DEGRADED
    return _fell_behind(after, event.host, event.name) if is_awaited else after


def _present(walked: Walked, *names: str) -> Walked:
    absent = tuple(name for name in walked.absent if name not in names)
    return walked if absent == walked.absent else replace(walked, absent=absent)


def _fell_behind(walked: Walked, host: str, name: str) -> Walked:
    return walked if host in walked.behind else replace(walked, behind={**walked.behind, host: name})


def _left(walked: Walked, host: str) -> Walked:
    if host not in walked.behind:
        return walked
    return replace(walked, behind={id_: name for id_, name in walked.behind.items() if id_ != host})
