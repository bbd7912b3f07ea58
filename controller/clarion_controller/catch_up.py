"""What a host that asks is still to be told: which deployment of a stream is its own, and which signal it awaits."""

from __future__ import annotations

from collections.abc import Sequence

from clarion_controller.state.rollout_state import HostState, RolloutState
from clarion_controller.streams import Sent, Walk
from clarion_protocol.documents import Head
from clarion_protocol.words import DeploymentStatus, HostStatus, Verb

# A host that has accepted a signal needs a moment to say so; only then is it told again.
PATIENCE = 10.0

Errand = tuple[Verb, float]

_DEAD = {
    DeploymentStatus.FAILED,
    DeploymentStatus.ROLLED_BACK,
    DeploymentStatus.ABORTED,
    DeploymentStatus.SUPERSEDED,
}


def own_walk(walks: Sequence[Walk], host: str) -> Walk | None:
    """Return the newest deployment of a stream that concerns this host.

    One that ended badly concerns only those who had a part in it: who joins later, or was
    never told, gets the last good one.
    """
    return next((walk for walk in walks if host in walk.state.hosts and concerns(walk.state, host)), None)


def concerns(state: RolloutState, host: str) -> bool:
    """Return whether this host has a part in a deployment, or had before it left; and was told, if it ended badly."""
    part = state.part_of(host)
    return part is not None and not (state.status in _DEAD and part.told is None)


def errand(state: RolloutState, host: HostState, now: float) -> Errand | None:
    """Return the verb that a host was told and has not followed (with the end of its lease), or nothing."""
    status = host.lost_as or host.status
    if host.told is Verb.STAGE and state.is_open:
        return (Verb.STAGE, 0.0) if status is HostStatus.PENDING else None
    if host.told is Verb.LEASE and status is HostStatus.STAGED and now < host.lease_until:
        may_go = state.is_open and not state.is_halted and state.status is not DeploymentStatus.PAUSED
        return (Verb.LEASE, host.lease_until) if may_go else None
    if host.told is Verb.PAUSE and status is HostStatus.STAGED and now < host.lease_until:
        return (Verb.PAUSE, 0.0)
    if host.told is Verb.ROLLBACK and status not in (HostStatus.ROLLED_BACK, HostStatus.FAILED, HostStatus.SKIPPED):
        return (Verb.ROLLBACK, 0.0)
    if host.told is Verb.ABORT and not status.is_final:
        return (Verb.ABORT, 0.0)
    return None


def companions(state: RolloutState, wanted: Errand, now: float) -> list[str]:
    """Return all hosts with the same errand, so that one signature serves them all."""
    return state.ids(lambda host: errand(state, host, now) == wanted)


def is_news(sent: Sent | None, host: str, head: Head, now: float) -> bool:
    """Return whether sending this signal again would tell the host anything."""
    return sent is not None and host in sent.hosts and head.signal_seq < sent.seq and now < sent.until


def is_patient(sent: Sent | None, host: str, head: Head, now: float) -> bool:
    """Return whether the host has accepted the signal, so lately that its answer may be on the way, or for good.

    A pause has no answer: who has accepted it has followed it.
    """
    if sent is None or host not in sent.hosts or head.signal_seq < sent.seq:
        return False
    return sent.verb is Verb.PAUSE or now < sent.at + PATIENCE
