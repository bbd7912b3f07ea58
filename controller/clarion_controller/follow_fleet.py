"""What a fleet that has changed means for its deployments: who leaves, who comes in, and into which; pure.

- Who is not in the fleet any more leaves every deployment, also in the middle of a change: that is no failure. Who
  comes back goes on where it was.
- A server that was counted without agent, and is listed no more, is counted no more.
- Who is in the fleet and in no deployment that concerns it is brought in, whenever it was enrolled, if there is one
  for everybody: the newest that ended well, or the one under way, as its `joiners` says:
    `new`   into the one under way, at once;
    `old`   into the last good one at once, and into the one under way when that has succeeded; where nothing good
            was before, it waits: it never is to try what has not succeeded yet;
    `wait`  nothing while one is under way.
- Nobody is given an older order than the newest that it has accepted: it would refuse it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from clarion_controller.catch_up import concerns
from clarion_controller.matching import Member
from clarion_controller.state.events import AbsentGone, AnyEvent, HostAdded, HostMoved, HostRemoved
from clarion_controller.state.rollout_state import RolloutState
from clarion_controller.state.roster import Host
from clarion_controller.streams import Walk
from clarion_protocol.documents import Head
from clarion_protocol.words import HostStatus, Joiners


def follow_fleet(
    streams: Iterable[Sequence[Walk]], members: Iterable[Member], now: float
) -> list[tuple[Walk, list[AnyEvent]]]:
    """Return what happens in each deployment of an environment; `streams` are its deployments, newest first."""
    listed: set[str] = set()
    expected: dict[str, tuple[Host, Member]] = {}
    for member in members:
        listed.update(member.former_names)
        if member.host and member.is_expected:
            expected[member.host.id] = (member.host, member)
    changes: list[_Change] = []
    for walks in streams:
        stream = [_Change(walk, now) for walk in walks]
        for change in stream:
            change.events += _departures(change, expected, listed)
        for host, member in expected.values():
            _bring_in(stream, walks, host, member)
        changes += stream
    return [(change.walk, change.events) for change in changes if change.events]


def destination(walks: Sequence[Walk], host: Host) -> Walk | None:
    """Return the deployment of a stream (newest first) that a host of the fleet is still to be brought into."""
    accepted = _newest_accepted(walks, host)
    for walk in walks:
        state = walk.state
        if concerns(state, host.id) or accepted > state.deployment.seq:
            return None
        if not state.deployment.targets.all:
            continue
        if not state.status.is_final and state.deployment.plan.joiners is Joiners.WAIT:
            return None
        if state.is_open and (state.status.is_final or _takes_joiners(state)):
            return walk
    return None


@dataclass
class _Change:
    """What happens in one deployment."""

    walk: Walk
    now: float
    events: list[AnyEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.absent = set(self.walk.state.absent)

    def add(self, host: Host, member: Member) -> None:
        """Let a host in, in place of what it was called while it had no agent."""
        fills = next((name for name in member.former_names if name in self.absent), "")
        self.absent.discard(fills)
        self.events.append(HostAdded(at=self.now, host=host.id, name=member.name, fills=fills))


def _departures(change: _Change, expected: Container[str], listed: Container[str]) -> Iterator[AnyEvent]:
    for id_ in change.walk.state.hosts:
        if id_ not in expected:
            yield HostRemoved(at=change.now, host=id_)
    if unlisted := [name for name in change.walk.state.absent if name not in listed]:
        change.absent.difference_update(unlisted)
        yield AbsentGone(at=change.now, names=unlisted)


def _bring_in(stream: Sequence[_Change], walks: Sequence[Walk], host: Host, member: Member) -> None:
    wanted = destination(walks, host)
    for change in stream:
        state = change.walk.state
        has_left = host.id not in state.hosts and state.part_of(host.id)
        if has_left or change.walk is wanted:
            change.add(host, member)
        if wanted and change.walk is not wanted and _is_under_way(state, host.id):
            reason = f"deployment {wanted.state.deployment.seq} takes it on"
            skipped = HostStatus.SKIPPED
            change.events.append(HostMoved(at=change.now, host=host.id, status=skipped, reason=reason))


def _takes_joiners(state: RolloutState) -> bool:
    return state.deployment.plan.joiners is Joiners.NEW and not state.is_halted


def _newest_accepted(walks: Sequence[Walk], host: Host) -> int:
    if host.last_report is None or not walks:
        return 0
    return host.last_report.heads.get(walks[0].state.deployment.stream, Head()).deployment_seq


def _is_under_way(state: RolloutState, host: str) -> bool:
    part = state.part_of(host)
    return part is not None and state.is_open and not part.is_settled
