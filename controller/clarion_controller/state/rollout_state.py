"""Where a deployment stands, folded from its events: `apply(state, *events) -> state`, without IO or clock.

Replaying a deployment's events gives the same state, also the same `revision`; that is
how a restarted controller goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import singledispatch

import msgspec
from msgspec.structs import replace

from clarion_controller.state.events import (
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
from clarion_protocol.documents import Deployment
from clarion_protocol.words import DeploymentStatus, HostStatus, Verb

_SWITCHED = {
    HostStatus.ACTIVATING,
    HostStatus.CHECKING,
    HostStatus.BAKING,
    HostStatus.COMMITTED,
    HostStatus.ROLLED_BACK,
}


class HostState(msgspec.Struct, frozen=True, kw_only=True):
    """One host in one deployment; `told` is the last verb it was signalled, `lost_as` what it was when it got lost."""

    name: str
    status: HostStatus = HostStatus.PENDING
    reason: str = ""
    error: str = ""
    since: float = 0.0
    told: Verb | None = None
    lease_until: float = 0.0
    has_switched: bool = False
    lost_as: HostStatus | None = None

    @property
    def is_lost(self) -> bool:
        """Whether nobody knows how this host is."""
        return self.status is HostStatus.UNREACHABLE

    @property
    def has_failed(self) -> bool:
        """Whether this host tried and is not on the new release."""
        return self.status in (HostStatus.FAILED, HostStatus.ROLLED_BACK)

    @property
    def is_done(self) -> bool:
        """Whether this host settled as it was meant to."""
        return self.status in (HostStatus.COMMITTED, HostStatus.SKIPPED)

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is expected of this host in this deployment."""
        return self.status.is_final

    @property
    def awaits_lease(self) -> bool:
        """Whether this host has the release ready and no right to switch yet."""
        return self.status is HostStatus.STAGED and self.told is not Verb.LEASE

    @property
    def is_in_change(self) -> bool:
        """Whether this host holds a lease, used or not, and has not settled."""
        return self.status.is_in_change or (self.status is HostStatus.STAGED and self.told is Verb.LEASE)

    @property
    def may_run_it(self) -> bool:
        """Whether this host runs the new release, is about to, or got lost while it had the right to."""
        return self.is_in_change or self.status is HostStatus.COMMITTED or (self.is_lost and self.told is Verb.LEASE)


class RolloutState(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment's walk: its hosts by id, the names without agent, and why it is as it is."""

    deployment: Deployment
    digest: str
    accepted_at: float
    hosts: Mapping[str, HostState]
    absent: tuple[str, ...] = ()
    actor: str = ""
    status: DeploymentStatus = DeploymentStatus.RUNNING
    reason: str = ""
    halt: str = ""
    moved_at: float = 0.0
    paused_at: float | None = None
    finished: float | None = None
    revision: int = 1

    @property
    def total(self) -> int:
        """How many hosts are meant, with and without agent: what shares are shares of."""
        return len(self.hosts) + len(self.absent)

    @property
    def is_halted(self) -> bool:
        """Whether no more leases are given."""
        return bool(self.halt)

    @property
    def is_open(self) -> bool:
        """Whether hosts are still brought to this release: it runs, or is done and may have stragglers."""
        return self.status in _OPEN

    @property
    def has_begun_to_switch(self) -> bool:
        """Whether any host was ever given a lease."""
        return any(host.lease_until for host in self.hosts.values())

    def count(self, wanted: Callable[[HostState], bool]) -> int:
        """Return of how many hosts `wanted` holds."""
        return sum(1 for host in self.hosts.values() if wanted(host))

    def ids(self, wanted: Callable[[HostState], bool]) -> list[str]:
        """Return the ids of the hosts of which `wanted` holds, in the order of their names."""
        return sorted((id_ for id_, host in self.hosts.items() if wanted(host)), key=lambda id_: self.hosts[id_].name)

    def names(self, wanted: Callable[[HostState], bool]) -> list[str]:
        """Return the names of the hosts of which `wanted` holds."""
        return sorted(host.name for host in self.hosts.values() if wanted(host))


_OPEN = {
    DeploymentStatus.RUNNING,
    DeploymentStatus.PAUSED,
    DeploymentStatus.SUCCEEDED,
    DeploymentStatus.DEGRADED,
}


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
    hosts = dict(state.hosts)
    state = replace(state, hosts=hosts)
    for event in events:
        state = replace(_fold(event, state, hosts), revision=state.revision + 1)
    return state


@singledispatch
def _fold(event: AnyEvent, state: RolloutState, hosts: dict[str, HostState]) -> RolloutState:
    """Change `hosts` in place and return the state with everything else changed."""
    raise TypeError(f"{event!r} does not happen to a deployment that was accepted")


@_fold.register
def _(event: Signalled, state: RolloutState, hosts: dict[str, HostState]) -> RolloutState:
    for id_ in event.hosts:
        if host := hosts.get(id_):
            until = event.until if event.verb is Verb.LEASE else host.lease_until
            hosts[id_] = replace(host, told=event.verb, lease_until=until)
    return state


@_fold.register
def _(event: HostMoved, state: RolloutState, hosts: dict[str, HostState]) -> RolloutState:
    host = hosts.get(event.host)
    if host is None:
        return state
    hosts[event.host] = replace(
        host,
        status=event.status,
        reason=event.reason,
        error=event.error,
        since=event.at,
        has_switched=host.has_switched or event.status in _SWITCHED,
        lost_as=None,
    )
    return replace(state, moved_at=event.at)


@_fold.register
def _(event: HostLost, state: RolloutState, hosts: dict[str, HostState]) -> RolloutState:
    if (host := hosts.get(event.host)) and not host.is_lost:
        unreachable = HostStatus.UNREACHABLE
        hosts[event.host] = replace(host, status=unreachable, reason=event.reason, since=event.at, lost_as=host.status)
    return state


@_fold.register
def _(event: HostBack, state: RolloutState, hosts: dict[str, HostState]) -> RolloutState:
    if (host := hosts.get(event.host)) and host.lost_as is not None:
        # An unused lease has run out by now: the host waits for another.
        told = Verb.STAGE if host.lost_as is HostStatus.STAGED and host.told is Verb.LEASE else host.told
        hosts[event.host] = replace(
            host, status=host.lost_as, reason="it is back", since=event.at, lost_as=None, told=told
        )
    return state


@_fold.register
def _(event: HostAdded, state: RolloutState, hosts: dict[str, HostState]) -> RolloutState:
    hosts[event.host] = HostState(name=event.name, since=event.at)
    return replace(state, absent=tuple(name for name in state.absent if name != event.name))


@_fold.register
def _(event: HostRemoved, state: RolloutState, hosts: dict[str, HostState]) -> RolloutState:
    hosts.pop(event.host, None)
    return state


@_fold.register
def _(event: Halted, state: RolloutState, hosts: dict[str, HostState]) -> RolloutState:
    return replace(state, halt=event.reason)


@_fold.register
def _(event: Paused, state: RolloutState, hosts: dict[str, HostState]) -> RolloutState:
    reason = f"paused by {event.actor or 'an operator'}"
    return replace(state, status=DeploymentStatus.PAUSED, reason=reason, paused_at=event.at)


@_fold.register
def _(event: Resumed, state: RolloutState, hosts: dict[str, HostState]) -> RolloutState:
    stood = event.at - state.paused_at if state.paused_at is not None else 0.0
    moved_at = state.moved_at + stood
    return replace(state, status=DeploymentStatus.RUNNING, reason="", paused_at=None, moved_at=moved_at)


@_fold.register
def _(event: StatusChanged, state: RolloutState, hosts: dict[str, HostState]) -> RolloutState:
    finished = event.at if event.status.is_final else None
    return replace(
        state, status=event.status, reason=event.reason, finished=finished, moved_at=event.at, paused_at=None
    )
