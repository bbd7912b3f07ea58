"""What each event does to a deployment's state: `apply(state, *events) -> state`, without IO or clock.

Replaying a deployment's events gives the same state, also the same `revision`; that is
how a restarted controller goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from msgspec.structs import replace

from clarion_controller.state.events import (
    AbsentGone,
    AnyEvent,
    DeploymentAccepted,
    Halted,
    HostAdded,
    HostBack,
    HostLost,
    HostMoved,
    HostRemoved,
    Paused,
    Resumed,
    Signalled,
    StatusChanged,
)
from clarion_controller.state.rollout_state import HostState, RolloutState
from clarion_protocol.documents import Deployment
from clarion_protocol.words import DeploymentStatus, HostStatus, Verb

# Not CHECKING: a host that runs the release already only checks it.
_SWITCHED = {HostStatus.ACTIVATING, HostStatus.BAKING, HostStatus.COMMITTED, HostStatus.ROLLED_BACK}


def begin(deployment: Deployment, accepted: DeploymentAccepted) -> RolloutState:
    """Return the state of a deployment that was just accepted."""
    hosts = {id_: HostState(name=name, since=accepted.at) for id_, name in accepted.hosts.items()}
    return RolloutState(
        deployment=deployment,
        digest=accepted.digest,
        accepted_at=accepted.at,
        hosts=hosts,
        absent=tuple(accepted.absent),
        actor=accepted.actor,
        moved_at=accepted.at,
    )


def apply(state: RolloutState, *events: AnyEvent) -> RolloutState:
    """Return the state after `events`, in their order."""
    # One copy for a whole batch: a copy of 5,000 hosts for each of their reports would be quadratic.
    parts = _Parts(dict(state.hosts), dict(state.gone), dict.fromkeys(state.absent))
    state = replace(state, hosts=parts.hosts, gone=parts.gone)
    for event in events:
        state = replace(_fold(event, state, parts), revision=state.revision + 1)
    return replace(state, absent=tuple(parts.absent))


@dataclass(frozen=True)
class _Parts:
    """Who has a part in a deployment, to be changed in place: those in it, those that left, those without agent."""

    hosts: dict[str, HostState]
    gone: dict[str, HostState]
    absent: dict[str, None]

    def fill(self, *names: str) -> None:
        """Count names without agent no more."""
        for name in names:
            self.absent.pop(name, None)


@singledispatch
def _fold(event: AnyEvent, state: RolloutState, parts: _Parts) -> RolloutState:
    """Change `parts` in place and return the state with everything else changed."""
    raise TypeError(f"{event!r} does not happen to a deployment that was accepted")


@_fold.register
def _(event: Signalled, state: RolloutState, parts: _Parts) -> RolloutState:
    for id_ in event.hosts:
        if host := parts.hosts.get(id_):
            until = event.until if event.verb is Verb.LEASE else host.lease_until
            parts.hosts[id_] = replace(host, told=event.verb, lease_until=until)
    return state


@_fold.register
def _(event: HostMoved, state: RolloutState, parts: _Parts) -> RolloutState:
    # Of one that is not in the fleet, only its part is kept: nothing that it does moves this deployment.
    place = parts.hosts if event.host in parts.hosts else parts.gone
    host = place.get(event.host, HostState(name=""))
    place[event.host] = replace(
        host,
        status=event.status,
        reason=event.reason,
        error=event.error,
        since=event.at,
        has_switched=host.has_switched or event.status in _SWITCHED,
        moves=host.moves + 1,
        lost_as=None,
    )
    return replace(state, moved_at=event.at) if place is parts.hosts else state


@_fold.register
def _(event: HostLost, state: RolloutState, parts: _Parts) -> RolloutState:
    if (host := parts.hosts.get(event.host)) and not host.is_lost:
        parts.hosts[event.host] = replace(
            host, status=HostStatus.UNREACHABLE, reason=event.reason, since=event.at, lost_as=host.status
        )
    return state


@_fold.register
def _(event: HostBack, state: RolloutState, parts: _Parts) -> RolloutState:
    if (host := parts.hosts.get(event.host)) and host.lost_as is not None:
        parts.hosts[event.host] = replace(_returned(host, event.at), reason="it is back", since=event.at)
    return state


@_fold.register
def _(event: HostAdded, state: RolloutState, parts: _Parts) -> RolloutState:
    before = parts.gone.pop(event.host, None)
    part = _returned(before, event.at) if before else HostState(name=event.name, since=event.at)
    parts.hosts[event.host] = replace(part, name=event.name, added_at=event.at)
    parts.fill(event.name, event.fills)
    return state


@_fold.register
def _(event: HostRemoved, state: RolloutState, parts: _Parts) -> RolloutState:
    if host := parts.hosts.pop(event.host, None):
        parts.gone[event.host] = host
    return state


@_fold.register
def _(event: AbsentGone, state: RolloutState, parts: _Parts) -> RolloutState:
    parts.fill(*event.names)
    return state


@_fold.register
def _(event: Halted, state: RolloutState, parts: _Parts) -> RolloutState:
    return replace(state, halt=event.reason)


@_fold.register
def _(event: Paused, state: RolloutState, parts: _Parts) -> RolloutState:
    reason = f"paused by {event.actor or 'an operator'}"
    return replace(state, status=DeploymentStatus.PAUSED, reason=reason, paused_at=event.at)


@_fold.register
def _(event: Resumed, state: RolloutState, parts: _Parts) -> RolloutState:
    stood = event.at - state.paused_at if state.paused_at is not None else 0.0
    moved_at = state.moved_at + stood
    return replace(state, status=DeploymentStatus.RUNNING, reason="", paused_at=None, moved_at=moved_at)


@_fold.register
def _(event: StatusChanged, state: RolloutState, parts: _Parts) -> RolloutState:
    finished = event.at if event.status.is_final else None
    return replace(
        state, status=event.status, reason=event.reason, finished=finished, moved_at=event.at, paused_at=None
    )


def _returned(host: HostState, at: float) -> HostState:
    """Return the part of a host that is there again: as it was, but for a lease that was not used and has run out."""
    status = host.lost_as or host.status
    is_void = status is HostStatus.STAGED and host.had_lease and at >= host.lease_until
    return replace(host, status=status, lost_as=None, told=Verb.STAGE if is_void else host.told)
